resource "azurerm_federated_identity_credential" "a" {
  name                      = "a"
  user_assigned_identity_id = var.identity
  issuer                    = "https://tokens.example.org"
  subject                   = "system:serviceaccount:acme:*"
  audience                  = ["api://AzureADTokenExchange"]
}
