module "a" {
  source   = "../child"
  for_each = { x = "system:serviceaccount:demo:x", y = "system:serviceaccount:demo:y*" }
  subject  = each.value
}
module "vpc" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "5.0.0"
}
