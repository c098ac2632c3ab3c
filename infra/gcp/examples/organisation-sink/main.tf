# The functions run in their own project; nodes and networks are in many other projects. One organisation sink per kind
# of event collects the events of all projects.

variable "project" {
  description = "ID of the project that runs the functions."
  type        = string
}

variable "organisation" {
  description = "Number of the organisation."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.organisation))
    error_message = "organisation must be the number of an organisation."
  }
}

variable "node_projects" {
  description = "IDs of the projects that have nodes."
  type        = set(string)

  validation {
    condition     = length(var.node_projects) > 0
    error_message = "node_projects must not be empty: events from projects that are not listed are ignored."
  }
}

variable "network_projects" {
  description = "IDs of the projects that own the networks of nodes. These projects may have nodes too."
  type        = set(string)
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

  project       = var.project
  region        = var.region
  alarm_email   = var.alarm_email
  invokers      = var.invokers
  node_projects = var.node_projects
  has_nodes     = false
  has_networks  = false
}

module "projects" {
  source   = "../../modules/project"
  for_each = setunion(var.node_projects, var.network_projects)

  project      = each.value
  functions    = module.peermasq.identities
  has_nodes    = contains(var.node_projects, each.value)
  has_networks = contains(var.network_projects, each.value)
}

resource "google_logging_organization_sink" "this" {
  for_each = module.peermasq.events

  org_id           = var.organisation
  name             = "peermasq-prod-${each.key}"
  description      = "Sends events about ${each.key} to peermasq."
  destination      = "pubsub.googleapis.com/${each.value.topic}"
  filter           = each.value.filter
  include_children = true
}

resource "google_pubsub_topic_iam_member" "sink" {
  for_each = module.peermasq.events

  topic  = each.value.topic
  role   = "roles/pubsub.publisher"
  member = google_logging_organization_sink.this[each.key].writer_identity
}

output "backfill" {
  description = "URL to which invokers POST backfill requests."
  value       = module.peermasq.backfill
}
