variable "workload_identity_pool_id" {
  type = string
  description = "The id of the workload identity pool"
}

variable "workload_identity_pool_name" {
  type = string
  description = "Its name: `projects/N/locations/global/workloadIdentityPools/ID`"
}

variable "service_account_id" {
  type = string
  description = "The name of the service account that runs act as"
}

resource "google_iam_workload_identity_pool_provider" "countersign" {
  workload_identity_pool_id = var.workload_identity_pool_id
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
  role = "roles/iam.workloadIdentityUser"
  member = "principal://iam.googleapis.com/${var.workload_identity_pool_name}/subject/system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000001-6974-444f-9d33-62134a632373"
}

resource "google_service_account_iam_member" "definition-2" {
  service_account_id = var.service_account_id
  role = "roles/iam.workloadIdentityUser"
  member = "principal://iam.googleapis.com/${var.workload_identity_pool_name}/subject/system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000002-6974-444f-9d33-62134a632373"
}
