resource "aws_iam_role" "off" {
  assume_role_policy = jsonencode({
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = "arn:aws:iam::111111111111:oidc-provider/tokens.example.org" }
      Action    = "sts:AssumeRoleWithWebIdentity"
    }]
  })

  lifecycle {
    enabled = false
  }
}
