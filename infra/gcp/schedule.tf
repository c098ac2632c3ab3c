resource "google_cloud_scheduler_job" "sweep" {
  project     = var.project
  region      = var.region
  name        = "${local.name}-sweep"
  description = "Has all nodes of all configured clusters looked at."
  schedule    = var.sweep_minutes == 60 ? "0 * * * *" : "*/${var.sweep_minutes} * * * *"
  time_zone   = "Etc/UTC"
  # Cloud Scheduler waits 30 minutes at most; a sweep that takes longer goes on without it.
  attempt_deadline = "${min(var.backfill_seconds, 1800)}s"

  # A backfill by hand may be in the way: it takes one request at a time. The next sweep comes anyway.
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
