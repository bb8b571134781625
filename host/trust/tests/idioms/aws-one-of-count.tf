data "aws_iam_policy_document" "d" {
  count = 1
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111111111111:oidc-provider/tokens.example.org"]
    }
    condition {
      test     = "StringEquals"
      variable = "tokens.example.org:sub"
      values   = ["system:serviceaccount:acme:a"]
    }
    condition {
      test     = "StringEquals"
      variable = "tokens.example.org:aud"
      values   = ["aws-workload-identity-provider:acme"]
    }
  }
}

resource "aws_iam_role" "one" {
  assume_role_policy = one(data.aws_iam_policy_document.d[*].json)
}

resource "aws_iam_role" "joined" {
  assume_role_policy = join("", data.aws_iam_policy_document.d[*].json)
}

resource "aws_iam_role" "indexed" {
  assume_role_policy = data.aws_iam_policy_document.d[0].json
}

resource "aws_iam_role" "other" {
  assume_role_policy = one(data.aws_iam_policy_document.elsewhere[*].json)
}
