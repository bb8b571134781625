module "subjects" {
  source    = "./subjects"
  workspace = "team"
}
resource "azurerm_federated_identity_credential" "a" {
  for_each                  = module.subjects.all
  name                      = each.key
  user_assigned_identity_id = azurerm_user_assigned_identity.this.id
  issuer                    = "https://tokens.example.org"
  subject                   = each.value
  audience                  = ["api://AzureADTokenExchange"]
}
