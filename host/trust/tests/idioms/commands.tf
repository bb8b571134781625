resource "terraform_data" "azure" {
  provisioner "local-exec" {
    command = "az ad app federated-credential create --id ${var.app} --parameters @credential.json"
  }
}

resource "null_resource" "aws" {
  provisioner "local-exec" {
    command = <<-EOT
      aws iam update-assume-role-policy --role-name runs --policy-document file://trust.json
    EOT
  }
}

resource "null_resource" "gcp" {
  provisioner "local-exec" {
    command = "gcloud iam workload-identity-pools providers create-oidc runs --issuer-uri https://tokens.example.org"
  }
}

resource "null_resource" "other" {
  provisioner "local-exec" {
    command = "az login --federated-token $TOKEN && terraform fmt"
  }
}
