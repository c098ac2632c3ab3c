output "functions" {
  description = "Name and URL of each function."
  value = { for key in keys(local.functions) : key => {
    name = google_cloudfunctions2_function.this[key].name
    uri  = google_cloudfunctions2_function.this[key].service_config[0].uri
  } }
}

output "backfill" {
  description = "URL to which invokers POST backfill requests."
  value       = google_cloudfunctions2_function.this["backfill"].service_config[0].uri
}

output "identities" {
  description = "Service accounts of the functions. modules/project grants them roles in other projects."
  value       = local.identities
}

output "events" {
  description = "Topic and filter of the log sink for each kind of event."
  value       = local.events
}

output "seed" {
  description = "Metadata that modules/project can write to another project."
  value       = local.seed
}

output "sweep_job" {
  description = "The Cloud Scheduler job that starts the sweep."
  value       = google_cloud_scheduler_job.sweep.id
}

output "dashboard" {
  description = "The ID of the dashboard."
  value       = google_monitoring_dashboard.this.id
}
