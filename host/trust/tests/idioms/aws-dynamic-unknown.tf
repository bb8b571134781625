variable "subjects" {
  type = list(string)
}
data "aws_iam_policy_document" "t" {
  dynamic "statement" {
    for_each = var.subjects
    content {
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
        values   = [statement.value]
      }
    }
  }
}
