variable "s" {
  type = string
}
variable "n" {}
resource "azurerm_federated_identity_credential" "a" {
  user_assigned_identity_id = "x"
  issuer   = "https://oidc.example.com"
  subject  = var.s
  audience = ["api://AzureADTokenExchange"]
}
resource "azurerm_federated_identity_credential" "b" {
  count = var.n ? 1 : 0
  user_assigned_identity_id = "x"
  issuer   = "https://oidc.example.com"
  subject  = "system:serviceaccount:demo:*"
  audience = ["api://AzureADTokenExchange"]
}
