locals {
  host  = "token.actions.githubusercontent.com"
  roles = { app = "repo:acme/app:ref:refs/heads/main", all = "repo:acme/*" }
}
resource "aws_iam_role" "deploy" {
  for_each = local.roles
  name     = "deploy-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::111111111111:oidc-provider/${local.host}" }
      Condition = {
        StringEquals = { "${local.host}:aud" = "sts.amazonaws.com" }
        StringLike   = { "${local.host}:sub" = [each.value] }
      }
    }]
  })
}
