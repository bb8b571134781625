resource "azurerm_federated_identity_credential" "a" {
  parent_id = "/x"
  issuer    = "https://tokens.example.org"
  subject   = "system:serviceaccount:acme:workspace.*"
  audience  = ["api://AzureADTokenExchange"]
}
