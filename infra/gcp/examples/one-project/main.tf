# Nodes, networks and functions in one project.

variable "project" {
  description = "Id of the project."
  type        = string
}

variable "region" {
  description = "Where the functions run."
  type        = string
  default     = "europe-west1"
}

variable "alarm_email" {
  description = "Gets a mail when an alert begins and ends."
  type        = string
  default     = ""
}

variable "seed" {
  description = "Whether the project's metadata carries the startup script."
  type        = bool
  default     = false
}

variable "invokers" {
  description = "Who may call the backfill by hand, as IAM writes members: group:sre@example.com."
  type        = list(string)
  default     = []
}

module "peermasq" {
  source = "../.."

  project     = var.project
  region      = var.region
  alarm_email = var.alarm_email
  invokers    = var.invokers
  seed        = var.seed
}

output "backfill" {
  description = "Where the backfill takes a POST from those who may call it."
  value       = module.peermasq.backfill
}
