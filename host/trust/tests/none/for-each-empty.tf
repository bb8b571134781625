resource "azurerm_federated_identity_credential" "a" {
  for_each = toset([])
  issuer   = "https://tokens.example.org"
  subject  = "system:serviceaccount:acme:runner"
  audience = ["api://AzureADTokenExchange"]
}
