locals {
  subjects = { a = "system:serviceaccount:acme:a", b = "system:serviceaccount:acme:b" }
}
resource "aws_iam_role" "r" {
  assume_role_policy = <<-EOT
    {
      "Version": "2012-10-17",
      "Statement": [{
        "Effect": "Allow",
        "Principal": {"Federated": "arn:aws:iam::111111111111:oidc-provider/tokens.example.org"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
          "StringEquals": {"tokens.example.org:aud": "aws-workload-identity-provider:acme"},
          "StringLike": {"tokens.example.org:sub": ${jsonencode(values(local.subjects))}}
        }
      }]
    }
  EOT
}
