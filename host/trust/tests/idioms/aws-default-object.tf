variable "trust" {
  type = object({ host = string, subjects = optional(list(string), []) })
}
locals {
  trust = merge({ aud = "sts.amazonaws.com" }, { host = "tokens.example.org" })
}
resource "aws_iam_role" "r" {
  count = var.trust == null ? 0 : 1
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRoleWithWebIdentity"]
      Principal = { Federated = "arn:aws:iam::111111111111:oidc-provider/${local.trust.host}" }
      Condition = {
        StringEquals = {
          "${local.trust.host}:aud" = local.trust.aud
          "${local.trust.host}:sub" = var.trust.subjects
        }
      }
    }]
  })
}
