# Nodes, networks and functions are in one project.

variable "project" {
  description = "ID of the project."
  type        = string
}

variable "region" {
  description = "Region of the functions."
  type        = string
  default     = "europe-west1"
}

variable "alarm_email" {
  description = "E-mail address that is notified when an alert opens or closes."
  type        = string
  default     = ""
}

variable "seed" {
  description = "Whether to put the startup script in the project's metadata."
  type        = bool
  default     = false
}

variable "invokers" {
  description = "IAM members who may call the backfill manually, such as group:sre@example.com."
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
  description = "URL to which invokers POST backfill requests."
  value       = module.peermasq.backfill
}
