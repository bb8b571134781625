locals {
  definitions = {
    d00 = "00000001-6974-444f-9d33-62134a632373"
    d01 = "00000002-6974-444f-9d33-62134a632373"
    d02 = "00000003-6974-444f-9d33-62134a632373"
    d03 = "00000004-6974-444f-9d33-62134a632373"
    d04 = "00000005-6974-444f-9d33-62134a632373"
    d05 = "00000006-6974-444f-9d33-62134a632373"
    d06 = "00000007-6974-444f-9d33-62134a632373"
    d07 = "00000008-6974-444f-9d33-62134a632373"
    d08 = "00000009-6974-444f-9d33-62134a632373"
    d09 = "0000000a-6974-444f-9d33-62134a632373"
    d10 = "0000000b-6974-444f-9d33-62134a632373"
    d11 = "0000000c-6974-444f-9d33-62134a632373"
    d12 = "0000000d-6974-444f-9d33-62134a632373"
    d13 = "0000000e-6974-444f-9d33-62134a632373"
    d14 = "0000000f-6974-444f-9d33-62134a632373"
    d15 = "00000010-6974-444f-9d33-62134a632373"
    d16 = "00000011-6974-444f-9d33-62134a632373"
    d17 = "00000012-6974-444f-9d33-62134a632373"
    d18 = "00000013-6974-444f-9d33-62134a632373"
    d19 = "00000014-6974-444f-9d33-62134a632373"
    d20 = "00000015-6974-444f-9d33-62134a632373"
  }
}

resource "azurerm_federated_identity_credential" "definition" {
  for_each                  = local.definitions
  name                      = each.key
  resource_group_name       = "rg"
  user_assigned_identity_id = azurerm_user_assigned_identity.runs.id
  issuer                    = "https://oidc.example.com"
  subject                   = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.${each.value}"
  audience                  = ["api://AzureADTokenExchange"]
}
