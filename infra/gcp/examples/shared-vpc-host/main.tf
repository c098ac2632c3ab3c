# Nodes and functions in a service project, their network in the host project of a Shared VPC: what changes there
# comes by log sinks, and the functions may read it.

variable "project" {
  description = "Id of the service project."
  type        = string
}

variable "host_project" {
  description = "Id of the host project."
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

variable "invokers" {
  description = "Who may call the backfill by hand, as IAM writes members: group:sre@example.com."
  type        = list(string)
  default     = []
}

module "peermasq" {
  source = "../.."

  project      = var.project
  region       = var.region
  alarm_email  = var.alarm_email
  invokers     = var.invokers
  has_networks = false
}

module "host" {
  source = "../../modules/project"

  project   = var.host_project
  functions = module.peermasq.identities
  events    = module.peermasq.events
  has_nodes = false
}

output "backfill" {
  description = "Where the backfill takes a POST from those who may call it."
  value       = module.peermasq.backfill
}
