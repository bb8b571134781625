resource "aws_iam_openid_connect_provider" "countersign" {
  url = "https://oidc.example.com"
  client_id_list = [
    "aws-workload-identity-provider:demo"
  ]
}

data "aws_iam_policy_document" "countersign" {
  statement {
    actions = [
      "sts:AssumeRoleWithWebIdentity"
    ]

    principals {
      type = "Federated"
      identifiers = [
        aws_iam_openid_connect_provider.countersign.arn
      ]
    }

    condition {
      test     = "StringEquals"
      variable = "oidc.example.com:aud"
      values = [
        "aws-workload-identity-provider:demo"
      ]
    }

    condition {
      test     = "StringEquals"
      variable = "oidc.example.com:sub"
      values = [
        "system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000001-6974-444f-9d33-62134a632373",
        "system:serviceaccount:demo:workspace.team.buildingblockdefinition.00000002-6974-444f-9d33-62134a632373"
      ]
    }
  }
}

resource "aws_iam_role" "countersign" {
  name               = "countersign"
  assume_role_policy = data.aws_iam_policy_document.countersign.json
}
