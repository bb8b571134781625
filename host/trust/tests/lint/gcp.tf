resource "google_iam_workload_identity_pool_provider" "as_backplanes_have_it" {
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = "meshstack"
  attribute_condition                = "google.subject.startsWith(\"system:serviceaccount:demo:workspace.team\")"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_iam_workload_identity_pool_provider" "good" {
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = "good"
  attribute_condition                = "assertion.sub in ['system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373']"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_iam_workload_identity_pool_provider" "by_other_ways" {
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = "other"
  attribute_condition                = "assertion['sub'].matches('team') || !(assertion.sub == 'x') && assertion.sub.endsWith('y')"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  oidc {
    issuer_uri = "https://oidc.example.com"
  }
}

resource "google_iam_workload_identity_pool_provider" "broken" {
  attribute_condition = "assertion.sub =="
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_service_account_iam_member" "exact" {
  service_account_id = "x"
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/subject/system:serviceaccount:demo:98520496-627d-43e6-82da-ce499179ff3f"
}

resource "google_service_account_iam_binding" "everybody" {
  service_account_id = "x"
  role               = "roles/iam.workloadIdentityUser"
  members = [
    "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/*",
    "user:someone@example.com",
  ]
}
