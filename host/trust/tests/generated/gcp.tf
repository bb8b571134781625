variable "workload_identity_pool_id" {
  type        = string
  description = "The id of the workload identity pool"
}

variable "project_number" {
  type        = string
  description = "The number of the project that the pool belongs to"
}

variable "service_account_id" {
  type        = string
  description = "The name of the service account that runs act as"
}

resource "google_iam_workload_identity_pool_provider" "countersign" {
  workload_identity_pool_id          = var.workload_identity_pool_id
  workload_identity_pool_provider_id = "countersign"
  attribute_mapping = {
    "google.subject" = "assertion.sub"
  }
  attribute_condition = "assertion.sub in ['system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000001-6974-444f-9d33-62134a632373', 'system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000002-6974-444f-9d33-62134a632373']"

  oidc {
    issuer_uri = "https://oidc.example.com"
    allowed_audiences = [
      "gcp-workload-identity-provider:demo"
    ]
  }
}

resource "google_service_account_iam_member" "definition-1" {
  service_account_id = var.service_account_id
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/projects/${var.project_number}/locations/global/workloadIdentityPools/${var.workload_identity_pool_id}/subject/system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000001-6974-444f-9d33-62134a632373"
}

resource "google_service_account_iam_member" "definition-2" {
  service_account_id = var.service_account_id
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/projects/${var.project_number}/locations/global/workloadIdentityPools/${var.workload_identity_pool_id}/subject/system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000002-6974-444f-9d33-62134a632373"
}
