locals {
  providers = { a = "system:serviceaccount:acme:a", b = "system:serviceaccount:acme:b" }
}
resource "google_iam_workload_identity_pool_provider" "each" {
  for_each                           = local.providers
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = each.key
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  attribute_condition                = "google.subject == '${each.value}'"
  oidc {
    issuer_uri        = "https://tokens.example.org"
    allowed_audiences = ["gcp-workload-identity-provider:acme"]
  }
}
