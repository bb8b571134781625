locals {
  base  = { StringEquals = { "tokens.example.org:aud" = "aws-workload-identity-provider:acme" } }
  exact = { StringEquals = { "tokens.example.org:sub" = "system:serviceaccount:acme:a" } }
}
resource "aws_iam_role" "shallow" {
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::111111111111:oidc-provider/tokens.example.org" }
      Condition = merge(local.exact, local.base)
    }]
  })
}
