locals {
  a = { "oidc.example.com:sub" = "system:serviceaccount:demo:runner" }
  b = { for k in ["aud"] : "oidc.example.com:${k}" => "aws-workload-identity-provider:demo" }
}
resource "aws_iam_role" "r" {
  assume_role_policy = jsonencode({
    Statement = [{
      Effect = "Allow", Action = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::1:oidc-provider/oidc.example.com" }
      Condition = { StringEquals = merge(local.a, local.b) }
    }]
  })
}
