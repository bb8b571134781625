resource "azuread_application_flexible_federated_identity_credential" "this" {
  application_id             = azuread_application.this.id
  display_name               = "any-branch"
  audience                   = "api://AzureADTokenExchange"
  issuer                     = "https://token.actions.githubusercontent.com"
  claims_matching_expression = "claims['sub'] matches 'repo:acme/app:ref:refs/heads/*'"
}
