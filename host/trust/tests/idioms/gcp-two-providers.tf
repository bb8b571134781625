resource "google_iam_workload_identity_pool" "pool" {
  workload_identity_pool_id = "pool"
}
resource "google_iam_workload_identity_pool_provider" "closed" {
  workload_identity_pool_id          = google_iam_workload_identity_pool.pool.workload_identity_pool_id
  workload_identity_pool_provider_id = "closed"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  attribute_condition                = "assertion.sub == 'system:serviceaccount:acme:a'"
  oidc {
    issuer_uri = "https://tokens.example.org"
  }
}
resource "google_iam_workload_identity_pool_provider" "open" {
  workload_identity_pool_id          = google_iam_workload_identity_pool.pool.workload_identity_pool_id
  workload_identity_pool_provider_id = "open"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  oidc {
    issuer_uri = "https://other.example.org"
  }
}
resource "google_service_account_iam_binding" "all" {
  service_account_id = "projects/acme/serviceAccounts/run@acme.iam.gserviceaccount.com"
  role               = "roles/iam.workloadIdentityUser"
  members            = ["principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.pool.name}/*"]
}
