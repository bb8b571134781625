resource "azurerm_federated_identity_credential" "a" {
  issuer = "https://oidc.example.com"
  subject = "a:*"
  audience = ["x"]
}
