resource "aws_cloudcontrolapi_resource" "role" {
  type_name = "AWS::IAM::Role"
  desired_state = jsonencode({
    RoleName = "runs"
    AssumeRolePolicyDocument = {
      Statement = [{
        Effect    = "Allow"
        Principal = { Federated = "arn:aws:iam::111111111111:oidc-provider/tokens.example.org" }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = { StringEquals = { "tokens.example.org:aud" = "aws-workload-identity-provider:acme" } }
      }]
    }
  })
}

resource "aws_cloudcontrolapi_resource" "log" {
  type_name     = "AWS::Logs::LogGroup"
  desired_state = jsonencode({ LogGroupName = "runs" })
}
