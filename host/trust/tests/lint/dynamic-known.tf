data "aws_iam_policy_document" "t" {
  statement {
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
    dynamic "condition" {
      for_each = ["system:serviceaccount:acme:runner"]
      content {
        test     = "StringEquals"
        variable = "tokens.example.org:sub"
        values   = [condition.value]
      }
    }
  }
}
