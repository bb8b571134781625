resource "google_iam_workload_identity_pool_provider" "a" {
  workload_identity_pool_id          = "pool-a"
  workload_identity_pool_provider_id = "runs"
  attribute_mapping   = { "google.subject" = "assertion.sub" }
  attribute_condition = "assertion.sub in ['system:serviceaccount:acme:c0ffee00-0000-4000-8000-000000000001', 'system:serviceaccount:acme:workspace.my-workspace.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373']"
  oidc {
    issuer_uri        = "https://tokens.example.org"
    allowed_audiences = ["gcp-workload-identity-provider:acme"]
  }
}
resource "google_service_account_iam_member" "old" {
  service_account_id = "projects/acme/serviceAccounts/run@acme.iam.gserviceaccount.com"
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool-a/subject/system:serviceaccount:acme:c0ffee00-0000-4000-8000-000000000001"
}
resource "google_storage_bucket_iam_member" "elsewhere" {
  bucket = "unrelated"
  role   = "roles/storage.objectViewer"
  member = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool-b/subject/system:serviceaccount:acme:workspace.my-workspace.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373"
}
