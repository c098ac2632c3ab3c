resource "google_cloud_scheduler_job" "sweep" {
  project     = var.project
  region      = var.region
  name        = "${local.name}-sweep"
  description = "Serves all nodes of all configured clusters."
  schedule    = var.sweep_minutes == 60 ? "0 * * * *" : "*/${var.sweep_minutes} * * * *"
  time_zone   = "Etc/UTC"
  # Cloud Scheduler waits up to 30 minutes; a longer sweep continues without it.
  attempt_deadline = "${min(var.backfill_seconds, 1800)}s"

  # A manual backfill may be running, and only one request runs at a time. The next sweep follows soon.
  retry_config {
    retry_count          = 2
    min_backoff_duration = "20s"
    max_backoff_duration = "60s"
  }

  http_target {
    uri         = google_cloudfunctions2_function.this["backfill"].service_config[0].uri
    http_method = "POST"
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode(jsonencode({ skipNewNodes = true }))

    oidc_token {
      service_account_email = google_service_account.sweep.email
      audience              = google_cloudfunctions2_function.this["backfill"].service_config[0].uri
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.caller]
}
