variable "branches" {
  type    = set(string)
  default = ["main"]
}
resource "azurerm_federated_identity_credential" "branch" {
  for_each                  = var.branches
  name                      = each.key
  user_assigned_identity_id = azurerm_user_assigned_identity.this.id
  issuer                    = "https://token.actions.githubusercontent.com"
  subject                   = "repo:acme/app:ref:refs/heads/${each.key}"
  audience                  = ["api://AzureADTokenExchange"]
}
