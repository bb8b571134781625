resource "google_service_account" "log_writer" {
  account_id = "log-writer"
}
resource "google_project_iam_member" "log" {
  project = "acme"
  role    = "roles/logging.logWriter"
  member  = google_service_account.log_writer.member
}
