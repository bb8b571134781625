locals {
  workspaces = ["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q","r","s","t","u"]
}
resource "azurerm_federated_identity_credential" "many" {
  count     = length(local.workspaces)
  name      = "w-${count.index}"
  parent_id = azurerm_user_assigned_identity.i.id
  issuer    = "https://tokens.example.org"
  subject   = "system:serviceaccount:acme:${local.workspaces[count.index]}"
  audience  = ["api://AzureADTokenExchange"]
}
