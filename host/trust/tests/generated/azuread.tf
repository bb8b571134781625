variable "application_id" {
  type        = string
  description = "The resource id of the application"
}

resource "azuread_application_federated_identity_credential" "definition-1" {
  application_id = var.application_id
  display_name   = "definition-1"
  issuer         = "https://oidc.example.com"
  subject        = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000001-6974-444f-9d33-62134a632373"
  audiences = [
    "api://AzureADTokenExchange"
  ]
}

resource "azuread_application_federated_identity_credential" "definition-2" {
  application_id = var.application_id
  display_name   = "definition-2"
  issuer         = "https://oidc.example.com"
  subject        = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000002-6974-444f-9d33-62134a632373"
  audiences = [
    "api://AzureADTokenExchange"
  ]
}
