resource "azurerm_federated_identity_credential" "a" {
  issuer   = "https://tokens.example.org"
  subject  = "system:serviceaccount:acme:a"
  audience = ["api://AzureADTokenExchange"]
}
