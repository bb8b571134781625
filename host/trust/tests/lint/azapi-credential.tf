resource "azapi_resource" "fic" {
  type      = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31"
  name      = "run"
  parent_id = azurerm_user_assigned_identity.run.id
  body = {
    properties = {
      issuer    = "https://tokens.example.org"
      subject   = "system:serviceaccount:acme:workspace.*"
      audiences = ["sts.amazonaws.com"]
    }
  }
}
