resource "stackit_service_account_federated_identity_provider" "p" {
  for_each              = toset(["a", "b"])
  project_id            = "00000000-0000-0000-0000-000000000001"
  service_account_email = "run@sa.stackit.cloud"
  name                  = each.key
  issuer                = "https://tokens.example.org"
  assertions            = [{ item = "sub", operator = "equals", value = "system:serviceaccount:acme:${each.key}" }]
}
