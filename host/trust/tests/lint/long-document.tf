data "aws_iam_policy_document" "t" {
  statement {
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
      values   = [
        "system:serviceaccount:acme:workspace.team-01.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000001",
        "system:serviceaccount:acme:workspace.team-02.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000002",
        "system:serviceaccount:acme:workspace.team-03.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000003",
        "system:serviceaccount:acme:workspace.team-04.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000004",
        "system:serviceaccount:acme:workspace.team-05.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000005",
        "system:serviceaccount:acme:workspace.team-06.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000006",
        "system:serviceaccount:acme:workspace.team-07.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000007",
        "system:serviceaccount:acme:workspace.team-08.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000008",
        "system:serviceaccount:acme:workspace.team-09.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000009",
        "system:serviceaccount:acme:workspace.team-10.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000010",
        "system:serviceaccount:acme:workspace.team-11.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000011",
        "system:serviceaccount:acme:workspace.team-12.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000012",
        "system:serviceaccount:acme:workspace.team-13.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000013",
        "system:serviceaccount:acme:workspace.team-14.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000014",
        "system:serviceaccount:acme:workspace.team-15.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000015",
        "system:serviceaccount:acme:workspace.team-16.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000016",
        "system:serviceaccount:acme:workspace.team-17.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000017",
        "system:serviceaccount:acme:workspace.team-18.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000018",
        "system:serviceaccount:acme:workspace.team-19.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000019",
        "system:serviceaccount:acme:workspace.team-20.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000020",
        "system:serviceaccount:acme:workspace.team-21.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000021",
        "system:serviceaccount:acme:workspace.team-22.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000022",
        "system:serviceaccount:acme:workspace.team-23.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000023",
        "system:serviceaccount:acme:workspace.team-24.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000024",
        "system:serviceaccount:acme:workspace.team-25.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000025",
        "system:serviceaccount:acme:workspace.team-26.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000026",
        "system:serviceaccount:acme:workspace.team-27.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000027",
        "system:serviceaccount:acme:workspace.team-28.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000028",
        "system:serviceaccount:acme:workspace.team-29.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000029",
        "system:serviceaccount:acme:workspace.team-30.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000030",
        "system:serviceaccount:acme:workspace.team-31.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000031",
        "system:serviceaccount:acme:workspace.team-32.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000032",
        "system:serviceaccount:acme:workspace.team-33.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000033",
        "system:serviceaccount:acme:workspace.team-34.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000034",
        "system:serviceaccount:acme:workspace.team-35.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000035",
        "system:serviceaccount:acme:workspace.team-36.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000036",
        "system:serviceaccount:acme:workspace.team-37.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000037",
        "system:serviceaccount:acme:workspace.team-38.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000038",
        "system:serviceaccount:acme:workspace.team-39.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000039",
        "system:serviceaccount:acme:workspace.team-40.buildingblockdefinition.b23cfb9a-6974-444f-9d33-621300000040",
      ]
    }
  }
}
