variable "user_assigned_identity_id" {
  type        = string
  description = "The id of the user-assigned identity"
}

resource "azurerm_federated_identity_credential" "definition-1" {
  name                      = "definition-1"
  user_assigned_identity_id = var.user_assigned_identity_id
  issuer                    = "https://oidc.example.com"
  subject                   = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000001-6974-444f-9d33-62134a632373"
  audience = [
    "api://AzureADTokenExchange"
  ]
}

resource "azurerm_federated_identity_credential" "definition-2" {
  name                      = "definition-2"
  user_assigned_identity_id = var.user_assigned_identity_id
  issuer                    = "https://oidc.example.com"
  subject                   = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000002-6974-444f-9d33-62134a632373"
  audience = [
    "api://AzureADTokenExchange"
  ]
}
