resource "aws_iam_role" "cut_off" {
  name = "a"
