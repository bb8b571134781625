variable "statements" {}

variable "subjects" {
  default = []
}

variable "subject" {
  default = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373"
}

resource "aws_iam_role" "unknown_statements" {
  assume_role_policy = jsonencode({ Statement = var.statements })
}

resource "aws_iam_role" "open_beside_unknown" {
  assume_role_policy = jsonencode({
    Statement = concat(
      [{
        Effect    = "Allow"
        Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/oidc.example.com" }
        Action    = "sts:AssumeRoleWithWebIdentity"
      }],
      var.statements,
    )
  })
}

resource "aws_iam_role" "merged" {
  assume_role_policy = jsonencode({
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/oidc.example.com" }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = { StringEquals = merge(local.a, local.b) }
    }]
  })
}

resource "aws_iam_role" "of_another_file" {
  assume_role_policy = data.aws_iam_policy_document.elsewhere.json
}

data "aws_iam_policy_document" "of_others" {
  source_policy_documents = [file("policy.json")]
}

data "aws_iam_policy_document" "by_defaults" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    condition {
      test     = "StringEquals"
      variable = "oidc.example.com:aud"
      values   = ["aws-workload-identity-provider:demo"]
    }
    condition {
      test     = "StringLike"
      variable = "oidc.example.com:sub"
      values   = var.subjects
    }
  }
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    condition {
      test     = "StringEquals"
      variable = "oidc.example.com:aud"
      values   = ["aws-workload-identity-provider:demo"]
    }
    condition {
      test     = "StringEquals"
      variable = "oidc.example.com:sub"
      values   = [var.subject, "$${oidc.example.com:sub}", "&{oidc.example.com:sub}"]
    }
  }
}

resource "azurerm_federated_identity_credential" "of_a_variable" {
  for_each = var.subjects
  issuer   = "https://oidc.example.com"
  subject  = each.value
  audience = ["api://AzureADTokenExchange"]
}

resource "azurerm_federated_identity_credential" "counted" {
  count     = 21
  parent_id = "/subscriptions/0/identities/runs"
  issuer    = "https://oidc.example.com"
  subject   = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373"
  audience  = ["api://AzureADTokenExchange"]
}

module "backplane" {
  source   = "./backplane"
  subjects = ["*"]
}
