resource "aws_iam_role" "by_file" {
  name               = "by-file"
  assume_role_policy = file("${path.module}/policy.json")
}
resource "aws_iam_role" "by_template" {
  name = "by-template"
  assume_role_policy = templatefile("${path.module}/trust.json.tftpl", {
    host     = "tokens.example.org"
    subjects = ["system:serviceaccount:acme:a"]
  })
}
resource "aws_iam_role" "open" {
  name               = "open"
  assume_role_policy = templatefile("trust.json.tftpl", { host = "tokens.example.org", subjects = var.subjects })
}
resource "aws_iam_role" "outside" {
  name               = "outside"
  assume_role_policy = file("../../elsewhere/policy.json")
}
