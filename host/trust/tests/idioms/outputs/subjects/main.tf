variable "workspace" {
  type = string
}
output "all" {
  value = {
    exact = "repo:acme/${var.workspace}:ref:refs/heads/main"
    star  = "repo:acme/${var.workspace}:*"
  }
}
