terraform {}

resource "azurerm_federated_identity_credential" "a" {
  subject = "system:serviceaccount:acme:b"
}
