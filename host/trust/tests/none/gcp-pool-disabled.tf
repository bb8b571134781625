resource "google_iam_workload_identity_pool" "p" {
  workload_identity_pool_id = "pool-a"
  disabled                  = true
}

resource "google_iam_workload_identity_pool_provider" "open" {
  workload_identity_pool_id          = google_iam_workload_identity_pool.p.workload_identity_pool_id
  workload_identity_pool_provider_id = "open"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  oidc { issuer_uri = "https://tokens.example.org" }
}
