locals {
  fixed = [{ item = "aud", operator = "equals", value = "sts.accounts.stackit.cloud" }]
}
resource "stackit_service_account_federated_identity_provider" "p" {
  project_id            = "00000000-0000-0000-0000-000000000001"
  service_account_email = "run@sa.stackit.cloud"
  name                  = "p"
  issuer                = "https://tokens.example.org"
  assertions = concat(local.fixed, [
    for claim, value in { sub = "system:serviceaccount:acme:a" } : { item = claim, operator = "equals", value = value }
  ])
}
