resource "msgraph_resource" "runs" {
  url = "applications/${msgraph_resource.app.id}/federatedIdentityCredentials"
  body = {
    name      = "runs"
    issuer    = "https://tokens.example.org"
    subject   = "system:serviceaccount:acme:*"
    audiences = ["api://AzureADTokenExchange"]
  }
}

resource "msgraph_resource" "app" {
  url  = "applications"
  body = { displayName = "runs" }
}
