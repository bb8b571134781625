variable "subject" {
  default = "system:serviceaccount:acme:a"
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
          "StringEquals": {
            "tokens.example.org:aud": "aws-workload-identity-provider:acme",
            "tokens.example.org:sub": "${var.subject}"
          }
        }
      }]
    }
  EOT
}
