data "aws_iam_policy_document" "accepted" {
  # countersign: accept no-audience the provider of the account has one client id
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111111111111:oidc-provider/tokens.example.org"]
    }
    condition {
      test     = "StringLike"
      variable = "tokens.example.org:sub"
      values   = ["system:serviceaccount:acme:*"] # countersign: accept subject-pattern
    }
    # countersign: accept no-subject nothing is here
    condition {
      test     = "IpAddress"
      variable = "aws:SourceIp"
      values   = ["192.0.2.0/24"]
    }
  }
}
