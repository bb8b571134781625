resource "azapi_resource" "fic" {
  type      = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31"
  name      = "run"
  parent_id = azurerm_user_assigned_identity.run.id
  body = jsonencode({
    properties = {
      issuer    = "https://oidc.example.com"
      subject   = "a:b "
      audiences = ["api://AzureADTokenExchange"]
    }
  })
}
resource "azapi_resource" "other" {
  type = "Microsoft.Storage/storageAccounts@2023-01-01"
  body = {}
}
