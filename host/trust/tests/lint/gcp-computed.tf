resource "google_iam_workload_identity_pool_provider" "switched" {
  workload_identity_pool_provider_id = "switched"
  disabled                           = var.off
  attribute_mapping = {
    "google.subject"   = "assertion.sub"
    "attribute.nested" = "[1, 2].all(a, [1, 2].all(b, [1, 2].all(c, a + b + c > 0))) ? 'x' : 'y'"
  }
  attribute_condition = "assertion.sub == 'system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373' && assertion.aud == 'gcp-workload-identity-provider:demo'"
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_service_account_iam_binding" "chosen" {
  service_account_id = "a"
  role               = "roles/iam.workloadIdentityUser"
  members            = var.open ? ["allUsers"] : []
}

resource "google_service_account_iam_binding" "listed" {
  service_account_id = "b"
  role               = "roles/iam.workloadIdentityUser"
  members            = [for s in var.subjects : "principal://iam.googleapis.com/p/subject/${s}"]
}

resource "google_service_account_iam_binding" "an_account" {
  service_account_id = "c"
  role               = "roles/iam.workloadIdentityUser"
  members            = ["serviceAccount:${var.account}"]
}

data "google_iam_policy" "everybody" {
  binding {
    role    = "roles/iam.workloadIdentityUser"
    members = ["allAuthenticatedUsers"]
  }
}

resource "google_service_account_iam_policy" "by_data" {
  service_account_id = "d"
  policy_data        = data.google_iam_policy.everybody.policy_data
}

resource "google_service_account_iam_policy" "elsewhere" {
  service_account_id = "e"
  policy_data        = data.google_iam_policy.absent.policy_data
}

resource "google_service_account_iam_policy" "in_json" {
  service_account_id = "f"
  policy_data = jsonencode({
    bindings = [{ role = "roles/iam.workloadIdentityUser", members = ["allUsers"] }]
  })
}
