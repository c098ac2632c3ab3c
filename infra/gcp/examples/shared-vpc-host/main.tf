# Nodes and functions are in a service project, and their network is in the host project of a Shared VPC. A log sink in
# the host project sends route changes, and the functions get permission to read the network.

variable "project" {
  description = "ID of the service project."
  type        = string
}

variable "host_project" {
  description = "ID of the host project."
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

variable "invokers" {
  description = "IAM members who may call the backfill manually, such as group:sre@example.com."
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
  description = "URL to which invokers POST backfill requests."
  value       = module.peermasq.backfill
}
