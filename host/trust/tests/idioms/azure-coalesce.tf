locals {
  given = ""
}

resource "azurerm_federated_identity_credential" "a" {
  issuer   = "https://tokens.example.org"
  subject  = coalesce(null, local.given, "system:serviceaccount:acme:*")
  audience = ["api://AzureADTokenExchange"]
}
