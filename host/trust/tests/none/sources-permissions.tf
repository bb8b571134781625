data "aws_iam_policy_document" "p" {
  source_policy_documents = [data.aws_iam_policy_document.a.json, file("x.json")]
  statement {
    actions   = ["s3:*"]
    resources = ["*"]
  }
}
data "aws_iam_policy_document" "a" {
  statement {
    actions   = ["*"]
    resources = ["*"]
  }
}
