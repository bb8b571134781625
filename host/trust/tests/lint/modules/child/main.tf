variable "subject" {}
variable "audience" { default = "api://AzureADTokenExchange" }
resource "azurerm_federated_identity_credential" "a" {
  user_assigned_identity_id = azurerm_user_assigned_identity.a.id
  issuer   = "https://oidc.example.com"
  subject  = var.subject
  audience = [var.audience]
}
