locals {
  issuer = "tokens.example.org"
}
data "aws_iam_policy_document" "t" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [var.provider_arn]
    }
    condition {
      test     = "StringEquals"
      variable = format("%s:sub", local.issuer)
      values   = ["system:serviceaccount:acme:runner"]
    }
    condition {
      test     = "StringEquals"
      variable = join(":", [local.issuer, "aud"])
      values   = ["aws-workload-identity-provider:acme"]
    }
  }
}
