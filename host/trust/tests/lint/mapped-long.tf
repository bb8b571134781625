resource "google_iam_workload_identity_pool_provider" "p" {
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = "p"
  attribute_mapping   = { "google.subject" = "assertion.sub.extract('buildingblockdefinition.{id}')" }
  attribute_condition = "assertion.sub == 'system:serviceaccount:a-meshstack-id:workspace.a-rather-long-workspace-name-here.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373'"
  oidc {
    issuer_uri        = "https://tokens.example.org"
    allowed_audiences = ["gcp-workload-identity-provider:acme"]
  }
}
