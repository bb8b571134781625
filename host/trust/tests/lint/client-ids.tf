resource "aws_iam_openid_connect_provider" "p" {
  url            = "https://oidc.example.com"
  client_id_list = ["aws-workload-identity-provider:demo"]
}
data "aws_iam_policy_document" "t" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.p.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${replace(aws_iam_openid_connect_provider.p.url, "https://", "")}:sub"
      values   = ["system:serviceaccount:demo:runner"]
    }
  }
}
