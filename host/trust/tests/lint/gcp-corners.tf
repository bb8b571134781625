resource "google_iam_workload_identity_pool_provider" "or_true" {
  workload_identity_pool_provider_id = "or_true"
  attribute_condition                = "assertion.sub == 'system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373' || true"
  attribute_mapping                  = { "google.subject" = "assertion.sub", "attribute.sub" = "assertion.sub" }
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_iam_workload_identity_pool_provider" "or_audience" {
  workload_identity_pool_provider_id = "or_audience"
  attribute_condition                = "assertion.sub in ['system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373'] || assertion.aud == 'gcp-workload-identity-provider:demo'"
  attribute_mapping                  = { "google.subject" = "assertion.sub", "attribute.sub" = "assertion.sub" }
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_iam_workload_identity_pool_provider" "conditional" {
  workload_identity_pool_provider_id = "conditional"
  attribute_condition                = "assertion.sub == 'system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373' ? true : true"
  attribute_mapping                  = { "google.subject" = "assertion.sub", "attribute.sub" = "assertion.sub" }
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_iam_workload_identity_pool_provider" "over_lists" {
  workload_identity_pool_provider_id = "over_lists"
  attribute_condition                = "[assertion.sub == 'system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373', true].exists(b, b)"
  attribute_mapping                  = { "google.subject" = "assertion.sub", "attribute.sub" = "assertion.sub" }
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_iam_workload_identity_pool_provider" "by_attribute" {
  workload_identity_pool_provider_id = "by_attribute"
  attribute_condition                = "attribute.sub.startsWith('system:serviceaccount:demo:workspace.team')"
  attribute_mapping                  = { "google.subject" = "assertion.sub", "attribute.sub" = "assertion.sub" }
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_iam_workload_identity_pool_provider" "by_variable" {
  workload_identity_pool_provider_id = "by_variable"
  attribute_condition                = var.condition
  attribute_mapping                  = { "google.subject" = "assertion.sub", "attribute.sub" = "assertion.sub" }
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_iam_workload_identity_pool_provider" "other_claims" {
  workload_identity_pool_provider_id = "other_claims"
  attribute_condition                = "assertion.sub == 'system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373' && assertion.meshstack.workspace == 'team-a'"
  attribute_mapping                  = { "google.subject" = "assertion.sub", "attribute.sub" = "assertion.sub" }
  oidc {
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["gcp-workload-identity-provider:demo"]
  }
}

resource "google_iam_workload_identity_pool_provider" "dynamic" {
  workload_identity_pool_provider_id = "dynamic"
  dynamic "oidc" {
    for_each = var.issuers
    content {
      issuer_uri = oidc.value
    }
  }
}
