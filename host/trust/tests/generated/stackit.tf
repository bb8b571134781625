variable "project_id" {
  type        = string
  description = "The project of the service account"
}

variable "service_account_email" {
  type        = string
  description = "The service account that runs act as"
}

resource "stackit_service_account_federated_identity_provider" "definition-1" {
  project_id            = var.project_id
  service_account_email = var.service_account_email
  name                  = "definition-1"
  issuer                = "https://oidc.example.com"
  assertions = [
    {
      item     = "aud"
      operator = "equals"
      value    = "sts.accounts.stackit.cloud"
    },
    {
      item     = "sub"
      operator = "equals"
      value    = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000001-6974-444f-9d33-62134a632373"
    }
  ]
}

resource "stackit_service_account_federated_identity_provider" "definition-2" {
  project_id            = var.project_id
  service_account_email = var.service_account_email
  name                  = "definition-2"
  issuer                = "https://oidc.example.com"
  assertions = [
    {
      item     = "aud"
      operator = "equals"
      value    = "sts.accounts.stackit.cloud"
    },
    {
      item     = "sub"
      operator = "equals"
      value    = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000002-6974-444f-9d33-62134a632373"
    }
  ]
}
