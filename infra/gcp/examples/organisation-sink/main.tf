# Functions in a project of their own, nodes and networks in many: one sink of the organisation for each kind of
# events tells of them all.

variable "project" {
  description = "Id of the project in which the functions live."
  type        = string
}

variable "organisation" {
  description = "Number of the organisation."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.organisation))
    error_message = "organisation is the number of an organisation."
  }
}

variable "node_projects" {
  description = "Ids of the projects that have nodes."
  type        = set(string)

  validation {
    condition     = length(var.node_projects) > 0
    error_message = "Name the projects that have nodes: events of all others are ignored."
  }
}

variable "network_projects" {
  description = "Ids of the projects that own networks of nodes; some may have nodes too."
  type        = set(string)
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
  description      = "Tells peermasq of ${each.key}."
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
  description = "Where the backfill takes a POST from those who may call it."
  value       = module.peermasq.backfill
}
