resource "aws_iam_role" "r" {
  assume_role_policy = jsonencode({
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::111111111111:oidc-provider/tokens.example.org" }
      Condition = {
        StringEquals = {
          "https://tokens.example.org:sub" = "system:serviceaccount:acme:runner"
          "https://tokens.example.org:aud" = "aws-workload-identity-provider:acme"
        }
      }
    }]
  })
}
