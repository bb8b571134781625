locals {
  given = ["system:serviceaccount:acme:*"]
}

resource "azurerm_federated_identity_credential" "a" {
  issuer   = "https://tokens.example.org"
  subject  = local.given != null ? local.given[0] : "system:serviceaccount:acme:a"
  audience = null == local.given ? ["sts.amazonaws.com"] : ["api://AzureADTokenExchange"]
}
