output "roles" {
  description = "The project's custom roles, by purpose."
  value       = { for role in local.roles : role => google_project_iam_custom_role.this[role].name }
}

output "writers" {
  description = "The writer identities of the project's log sinks."
  value       = { for kind in keys(local.sinks) : kind => google_logging_project_sink.this[kind].writer_identity }
}
