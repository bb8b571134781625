resource "aws_cloudformation_stack" "json" {
  template_body = jsonencode({
    Resources = {
      R = {
        Type = "AWS::IAM::Role"
        Properties = {
          AssumeRolePolicyDocument = {
            Statement = [{
              Effect    = "Allow"
              Principal = { Federated = "arn:aws:iam::111111111111:oidc-provider/tokens.example.org" }
              Action    = "sts:AssumeRoleWithWebIdentity"
            }]
          }
        }
      }
    }
  })
}

resource "aws_cloudformation_stack_set" "yaml" {
  template_body = <<-EOT
    Resources:
      R:
        Type: AWS::IAM::Role
        Properties:
          AssumeRolePolicyDocument:
            Statement:
              - Effect: Allow
                Principal:
                  Federated: arn:aws:iam::111111111111:oidc-provider/tokens.example.org
                Action: sts:AssumeRoleWithWebIdentity
                Condition:
                  StringEquals:
                    tokens.example.org:aud: aws-workload-identity-provider:acme
                    tokens.example.org:sub: system:serviceaccount:acme:*
  EOT
}

resource "aws_cloudformation_stack" "elsewhere" {
  template_url = "https://acme.s3.amazonaws.com/runs.yaml"
}

resource "aws_cloudformation_stack" "bucket" {
  template_body = jsonencode({ Resources = { B = { Type = "AWS::S3::Bucket" } } })
}
