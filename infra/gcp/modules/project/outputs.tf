output "roles" {
  description = "The custom roles of the project, by what they are for."
  value       = { for role in local.roles : role => google_project_iam_custom_role.this[role].name }
}

output "writers" {
  description = "The identities with which the sinks of the project write."
  value       = { for kind in keys(local.sinks) : kind => google_logging_project_sink.this[kind].writer_identity }
}
