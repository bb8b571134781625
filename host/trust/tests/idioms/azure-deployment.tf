resource "azurerm_resource_group_template_deployment" "inline" {
  deployment_mode = "Incremental"
  template_content = jsonencode({
    "$schema" = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    resources = [{
      type = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"
      name = "runs/runs"
      properties = {
        issuer    = "https://tokens.example.org"
        subject   = "system:serviceaccount:acme:*"
        audiences = ["api://AzureADTokenExchange"]
      }
    }]
  })
}

resource "azurerm_subscription_template_deployment" "elsewhere" {
  template_spec_version_id = "/subscriptions/x/templateSpecs/y/versions/1"
}

resource "azurerm_role_definition" "permissions" {
  permissions {
    actions = ["Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write"]
  }
}
