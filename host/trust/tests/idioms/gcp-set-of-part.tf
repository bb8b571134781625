resource "google_iam_workload_identity_pool_provider" "p" {
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = "p"
  attribute_mapping                  = { "google.subject" = "assertion.sub", "attribute.workspace" = "assertion.sub.extract('workspace.{w}.')" }

  oidc {
    issuer_uri        = "https://tokens.example.org"
    allowed_audiences = ["gcp-workload-identity-provider:acme"]
  }
}
resource "google_service_account_iam_member" "m" {
  service_account_id = "projects/acme/serviceAccounts/run@acme.iam.gserviceaccount.com"
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/attribute.workspace/team-a"
}
