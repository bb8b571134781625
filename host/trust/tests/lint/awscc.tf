resource "awscc_iam_role" "r" {
  assume_role_policy_document = jsonencode({
    Statement = [{
      Effect = "Allow", Action = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::1:oidc-provider/oidc.example.com" }
    }]
  })
}
