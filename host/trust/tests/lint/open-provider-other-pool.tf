resource "google_iam_workload_identity_pool_provider" "p" {
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = "p"
  attribute_mapping = { "google.subject" = "assertion.sub" }
  oidc {
    issuer_uri        = "https://tokens.example.org"
    allowed_audiences = ["gcp-workload-identity-provider:acme"]
  }
}
resource "google_storage_bucket_iam_member" "other_pool" {
  bucket = "b"
  role   = "roles/storage.objectViewer"
  member = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/another-pool/subject/some:one"
}
