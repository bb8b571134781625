module "backplane" {
  source   = "./child"
  subjects = ["system:serviceaccount:acme:workspace.team*"]
}
