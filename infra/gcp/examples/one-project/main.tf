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

module "peermasq" {
  source = "../.."

  project     = var.project
  region      = var.region
  alarm_email = var.alarm_email
  seed        = var.seed
}

output "functions" {
  description = "Names and addresses of the functions."
  value       = module.peermasq.functions
}
