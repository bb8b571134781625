resource "azuread_application_federated_identity_credential" "this" {
  for_each       = toset(["main", "release"])
  application_id = azuread_application.this.id
  display_name   = each.value
  audiences      = ["api://AzureADTokenExchange"]
  issuer         = "https://token.actions.githubusercontent.com"
  subject        = format("repo:%s/%s:ref:refs/heads/%s", "acme", "app", each.key)
}
