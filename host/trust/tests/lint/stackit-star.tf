resource "stackit_service_account_federated_identity_provider" "p" {
  project_id = "0"
  service_account_email = "run@sa.stackit.cloud"
  name = "p"
  issuer = "https://oidc.example.com"
  assertions = [
    { item = "iss", operator = "equals", value = "https://other.example.com" },
    { item = "aud", operator = "equals", value = "sts.accounts.stackit.cloud" },
    { item = "sub", operator = "equals", value = "system:serviceaccount:demo:*" },
  ]
}
