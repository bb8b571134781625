locals {
  issuer = trimprefix("https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF", "https://")
  accounts = {
    dns  = { namespace = "kube-system", name = "external-dns" }
    logs = { namespace = "logging", name = "fluent-bit" }
  }
}
data "aws_iam_policy_document" "irsa" {
  for_each = local.accounts
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111111111111:oidc-provider/${local.issuer}"]
    }
    condition {
      test     = "StringEquals"
      variable = format("%s:sub", local.issuer)
      values   = [format("system:serviceaccount:%s:%s", each.value.namespace, each.value.name)]
    }
    condition {
      test     = "StringEquals"
      variable = format("%s:aud", local.issuer)
      values   = ["sts.amazonaws.com"]
    }
  }
}
resource "aws_iam_role" "irsa" {
  for_each           = local.accounts
  name               = each.key
  assume_role_policy = data.aws_iam_policy_document.irsa[each.key].json
}
