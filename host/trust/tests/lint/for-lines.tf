locals {
  m = {
    for k, v in { a = "system:serviceaccount:demo:a" } :
    k => v
    if v != ""
    && k != "b" # why
  }
}
resource "azurerm_federated_identity_credential" "a" {
  for_each = local.m
  issuer   = "https://oidc.example.com"
  subject  = each.value
  audience = ["api://AzureADTokenExchange"]
}
