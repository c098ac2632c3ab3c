# Each function has its own service account, so that permissions and calls can be attributed to the function.
resource "google_service_account" "function" {
  for_each = {
    node-joined     = "nodes"
    peering-changed = "routes"
    backfill        = "backfill"
  }

  project      = var.project
  account_id   = "${local.name}-${each.value}"
  display_name = "peermasq ${var.stage}: ${each.key}"
  depends_on   = [google_project_service.needed]
}

resource "google_service_account" "events" {
  project      = var.project
  account_id   = "${local.name}-events"
  display_name = "peermasq ${var.stage}: delivers events to the functions"
  depends_on   = [google_project_service.needed]
}

resource "google_service_account" "sweep" {
  project      = var.project
  account_id   = "${local.name}-sweep"
  display_name = "peermasq ${var.stage}: starts the sweep"
  depends_on   = [google_project_service.needed]
}

resource "google_service_account" "build" {
  project      = var.project
  account_id   = "${local.name}-build"
  display_name = "peermasq ${var.stage}: builds the functions"
  depends_on   = [google_project_service.needed]
}

# Grants the functions their permissions on nodes and networks of this project, and creates the log sinks.
module "grants" {
  source = "./modules/project"

  project               = var.project
  stage                 = var.stage
  functions             = local.identities
  has_nodes             = var.has_nodes
  has_networks          = var.has_networks
  events                = local.events
  node_service_accounts = var.node_service_accounts
  allow_restart         = var.allow_restart
  seed                  = var.seed ? local.seed : null
  startup_script        = var.startup_script
}

locals {
  identities = { for key in keys(local.functions) : key => google_service_account.function[key].email }

  # The only callers that may invoke a function: the events of this module, the sweep and the configured invokers.
  callers = merge(
    { for key in ["node-joined", "peering-changed"] : "${key} events" => {
      function = key
      member   = google_service_account.events.member
    } },
    { "backfill sweep" = {
      function = "backfill"
      member   = google_service_account.sweep.member
    } },
    { for member in var.invokers : "backfill ${member}" => {
      function = "backfill"
      member   = member
    } },
  )
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  for_each = local.callers

  project  = var.project
  location = var.region
  name     = local.services[each.value.function]
  role     = "roles/run.invoker"
  member   = each.value.member
}

resource "google_project_iam_member" "event_receiver" {
  project = var.project
  role    = "roles/eventarc.eventReceiver"
  member  = google_service_account.events.member
}

# The roles that a build needs (https://cloud.google.com/functions/docs/securing/build-custom-sa).
resource "google_project_iam_member" "build" {
  for_each = toset(["roles/artifactregistry.writer", "roles/logging.logWriter", "roles/storage.objectViewer"])

  project = var.project
  role    = each.value
  member  = google_service_account.build.member
}
