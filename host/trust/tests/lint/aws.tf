locals {
  meshstack = "demo"
  subjects  = ["system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373"]
}

variable "issuer" {
  type    = string
  default = "oidc.example.com"
}

variable "prefix" {
  type = string
}

data "aws_iam_policy_document" "good" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.countersign.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${var.issuer}:aud"
      values   = ["aws-workload-identity-provider:${local.meshstack}"]
    }
    condition {
      test     = "StringEquals"
      variable = "${var.issuer}:sub"
      values   = local.subjects
    }
  }
}

data "aws_iam_policy_document" "as_backplanes_have_it" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    condition {
      test     = "StringLike"
      variable = "${var.issuer}:sub"
      values   = ["system:serviceaccount:${local.meshstack}:workspace.team*"]
    }
  }
}

data "aws_iam_policy_document" "not_known" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    condition {
      test     = "StringEquals"
      variable = "${var.issuer}:aud"
      values   = ["aws-workload-identity-provider:demo"]
    }
    condition {
      test     = "StringEquals"
      variable = "${var.issuer}:sub"
      values   = ["${var.prefix}:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373"]
    }
  }
}

resource "aws_iam_role" "encoded" {
  name = "encoded"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = aws_iam_openid_connect_provider.countersign.arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "${var.issuer}:aud" = "aws-workload-identity-provider:demo"
          "${var.issuer}:sub" = [
            "system:serviceaccount:demo:98520496-627d-43e6-82da-ce499179ff3f",
            "system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373",
          ]
        }
      }
    }]
  })
}

resource "aws_iam_role" "heredoc" {
  assume_role_policy = <<-POLICY
    {
      "Statement": [{
        "Effect": "Allow",
        "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/oidc.example.com"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"oidc.example.com:sub": "system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373"}}
      }]
    }
  POLICY
}

resource "aws_iam_role" "by_document" {
  assume_role_policy = data.aws_iam_policy_document.good.json
}

resource "aws_iam_role" "elsewhere" {
  assume_role_policy = file("policy.json")
}
