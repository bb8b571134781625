resource "stackit_service_account_federated_identity_provider" "p" {
  project_id            = "00000000-0000-0000-0000-000000000001"
  service_account_email = "run@sa.stackit.cloud"
  name                  = "p"
  issuer                = "https://tokens.example.org"
  assertions = [
    { item = "aud", operator = "equals", value = "sts.accounts.stackit.cloud" },
    { item = "sub", operator = "in", value = "system:serviceaccount:acme:a" },
  ]
}
