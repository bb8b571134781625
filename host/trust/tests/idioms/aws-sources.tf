data "aws_iam_policy_document" "base" {
  statement {
    sid     = "Open"
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111111111111:oidc-provider/tokens.example.org"]
    }
  }
}
data "aws_iam_policy_document" "exact" {
  statement {
    sid     = "Trust"
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111111111111:oidc-provider/tokens.example.org"]
    }
    condition {
      test     = "StringEquals"
      variable = "tokens.example.org:aud"
      values   = ["aws-workload-identity-provider:acme"]
    }
    condition {
      test     = "StringEquals"
      variable = "tokens.example.org:sub"
      values   = ["system:serviceaccount:acme:a"]
    }
  }
}
data "aws_iam_policy_document" "trust" {
  source_policy_documents   = [data.aws_iam_policy_document.base.json, data.aws_iam_policy_document.exact.json]
  override_policy_documents = []
}
resource "aws_iam_role" "r" {
  name               = "r"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}
