locals {
  subjects = ["system:serviceaccount:acme:a", "system:serviceaccount:acme:b"]
}

variable "subjects" {
  type = list(string)
}

resource "google_iam_workload_identity_pool_provider" "encoded" {
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = "encoded"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  attribute_condition                = "assertion.sub in ${jsonencode(local.subjects)}"
  oidc {
    issuer_uri        = "https://tokens.example.org"
    allowed_audiences = ["gcp-workload-identity-provider:acme"]
  }
}

resource "google_iam_workload_identity_pool_provider" "unknown" {
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = "unknown"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  attribute_condition                = "assertion.sub in ${jsonencode(var.subjects)} && assertion.sub.startsWith('system:serviceaccount:acme:workspace.${var.prefix}')"
  oidc {
    issuer_uri        = "https://tokens.example.org"
    allowed_audiences = ["gcp-workload-identity-provider:acme"]
  }
}

resource "google_iam_workload_identity_pool_provider" "by_exists" {
  workload_identity_pool_id          = "pool"
  workload_identity_pool_provider_id = "by-exists"
  attribute_mapping                  = { "google.subject" = "assertion.sub", "attribute.workspace" = "assertion.sub.extract('workspace.{name}.')" }
  attribute_condition                = "['system:serviceaccount:acme:*'].exists(s, string(assertion.sub) == s) || attribute.workspace == 'a'"
  oidc {
    issuer_uri        = "https://tokens.example.org"
    allowed_audiences = ["gcp-workload-identity-provider:acme"]
  }
}
