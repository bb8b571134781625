variable "audience" {
  type    = string
  default = "api://AzureADTokenExchange"
}
resource "azurerm_federated_identity_credential" "a" {
  name                      = "a"
  user_assigned_identity_id = "/subscriptions/0/resourceGroups/r/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"
  issuer                    = "https://tokens.example.org"
  subject                   = "system:serviceaccount:acme:runner"
  audience                  = [var.audience]
}
