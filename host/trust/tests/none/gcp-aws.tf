resource "google_iam_workload_identity_pool_provider" "aws" {
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = "aws"
  aws {
    account_id = "1"
  }
}
