locals {
  s = [{ sub = "a:b" }, { sub = "a:*" }]
}
data "aws_iam_policy_document" "t" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111111111111:oidc-provider/oidc.example.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "oidc.example.com:aud"
      values   = ["aws-workload-identity-provider:demo"]
    }
    condition {
      test     = "StringEquals"
      variable = "oidc.example.com:sub"
      values   = local.s[*].sub
    }
  }
}
