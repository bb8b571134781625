variable "effect" {
  type = string
}
data "aws_iam_policy_document" "d" {
  statement {
    effect  = var.effect
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111111111111:oidc-provider/tokens.example.org"]
    }
    condition {
      test     = "StringEquals"
      variable = "tokens.example.org:aud"
      values   = ["aws-workload-identity-provider:acme"]
    }
    condition {
      test     = "StringEquals"
      variable = "tokens.example.org:sub"
      values   = ["system:serviceaccount:acme:c0ffee00-0000-4000-8000-000000000001", "system:serviceaccount:acme:workspace.my-workspace.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373"]
    }
  }
}
