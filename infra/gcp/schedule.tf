resource "google_cloud_scheduler_job" "sweep" {
  project     = var.project
  region      = var.region
  name        = "${local.name}-sweep"
  description = "Starts the sweep, which updates all nodes of all configured clusters."
  schedule    = var.sweep_minutes == 60 ? "0 * * * *" : "*/${var.sweep_minutes} * * * *"
  time_zone   = "Etc/UTC"
  # Cloud Scheduler waits at most 30 minutes for the response. A longer sweep continues anyway.
  attempt_deadline = "${min(var.backfill_seconds, 1800)}s"

  # Retries, because a manual backfill may be running, and only one request runs at a time. Few retries are enough, because
  # the next sweep follows soon.
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
