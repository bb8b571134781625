variable "federation" {
  type    = object({ issuer = string, subjects = list(string) })
  default = null
}
data "aws_iam_policy_document" "t" {
  count = var.federation != null ? 1 : 0
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.p[0].arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${trimprefix(var.federation.issuer, "https://")}:aud"
      values   = ["aws-workload-identity-provider:acme"]
    }
    condition {
      test     = "StringLike"
      variable = "${replace(var.federation.issuer, "https://", "")}:sub"
      values   = [for s in var.federation.subjects : "${s}*"]
    }
  }
}
