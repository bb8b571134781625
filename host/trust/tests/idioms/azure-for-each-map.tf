locals {
  credentials = {
    main = { subject = "repo:acme/app:ref:refs/heads/main" }
    pull = { subject = "repo:acme/app:pull_request", audience = "api://AzureADTokenExchange" }
    star = { subject = "repo:acme/app:ref:refs/tags/*" }
  }
}
resource "azurerm_federated_identity_credential" "this" {
  for_each                  = { for name, one in local.credentials : "fc-${name}" => one }
  name                      = each.key
  user_assigned_identity_id = azurerm_user_assigned_identity.this.id
  issuer                    = "https://token.actions.githubusercontent.com"
  subject                   = each.value.subject
  audience                  = [lookup(each.value, "audience", "api://AzureADTokenExchange")]
}
