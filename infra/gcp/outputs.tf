output "functions" {
  description = "The functions, by what they do: name and address."
  value = { for key in keys(local.functions) : key => {
    name = google_cloudfunctions2_function.this[key].name
    uri  = google_cloudfunctions2_function.this[key].service_config[0].uri
  } }
}

output "backfill" {
  description = "Where the backfill takes a POST from those who may call it."
  value       = google_cloudfunctions2_function.this["backfill"].service_config[0].uri
}

output "identities" {
  description = "The service accounts of the functions, which modules/project grants rights in other projects."
  value       = local.identities
}

output "events" {
  description = "The topic and the filter of each kind of events, for log sinks."
  value       = local.events
}

output "seed" {
  description = "What modules/project writes into the metadata of another project."
  value       = local.seed
}

output "sweep_job" {
  description = "The job of Cloud Scheduler that starts the sweep."
  value       = google_cloud_scheduler_job.sweep.id
}

output "dashboard" {
  description = "The id of the dashboard."
  value       = google_monitoring_dashboard.this.id
}
