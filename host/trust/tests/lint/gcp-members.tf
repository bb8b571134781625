resource "google_iam_workload_identity_pool_provider" "constant" {
  workload_identity_pool_provider_id = "constant"
  attribute_mapping                  = { "google.subject" = "'system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373'" }
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_service_account_iam_member" "everybody_by_reference" {
  service_account_id = "a"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.p.name}/*"
}

resource "google_service_account_iam_member" "attribute_by_reference" {
  service_account_id = "b"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.p.name}/attribute.team/x"
}

resource "google_service_account_iam_member" "exact_by_reference" {
  service_account_id = "c"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.p.name}/subject/system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373"
}

resource "google_service_account_iam_member" "unknown" {
  service_account_id = "d"
  member             = var.member
}

resource "google_storage_bucket_iam_member" "all" {
  bucket = "e"
  member = "allUsers"
}

resource "google_project_iam_member" "a_person" {
  project = "f"
  member  = "user:someone@example.com"
}
