resource "stackit_service_account_federated_identity_provider" "good" {
  project_id            = "p"
  service_account_email = "runs@sa.stackit.cloud"
  name                  = "good"
  issuer                = "https://oidc.example.com"
  assertions = [
    { item = "aud", operator = "equals", value = "sts.accounts.stackit.cloud" },
    { item = "sub", operator = "equals", value = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373" },
  ]
}

resource "stackit_service_account_federated_identity_provider" "as_backplanes_have_it" {
  project_id            = "p"
  service_account_email = "runs@sa.stackit.cloud"
  name                  = "shared"
  issuer                = "https://oidc.example.com"
  assertions = [
    { item = "aud", operator = "equals", value = "api://AzureADTokenExchange" },
    { item = "sub", operator = "equals", value = "system:serviceaccount:demo:98520496-627d-43e6-82da-ce499179ff3f" },
  ]
}
