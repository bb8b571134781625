resource "google_project_iam_member" "a" {
  for_each = toset(["roles/x", "roles/y"])
  project = "p"
  role = each.value
  member = "${google_service_account.x.member}"
}
resource "google_project_iam_binding" "b" {
  project = "p"
  role = "roles/z"
  members = [google_service_account.x["a"].member, data.google_service_account.y.member, google_project_service_identity.z.member, "serviceAccount:${google_service_account.x.email}", "group:${var.g}", module.sa.member]
}
resource "google_project_iam_member" "c" {
  for_each = var.members
  project = "p"
  role = "roles/z"
  member = each.value
}
