# A trigger matches one method name exactly, and the audit log puts the version of the API in front of it. The
# alpha API is closed to nearly everybody: what happens there, the sweep finds. So it does with bulkInsert, whose
# entries do not say which instances it made.
locals {
  versions = ["v1.", "beta.", ""]

  node_methods = [
    "instances.insert",
  ]

  route_methods = [
    "interconnectAttachments.delete",
    "interconnectAttachments.insert",
    "interconnectAttachments.patch",
    "networks.addPeering",
    "networks.removePeering",
    "networks.updatePeering",
    "routers.delete",
    "routers.insert",
    "routers.patch",
    "routers.update",
    "routes.delete",
    "routes.insert",
    "subnetworks.delete",
    "subnetworks.expandIpCidrRange",
    "subnetworks.insert",
    "subnetworks.patch",
    "vpnTunnels.delete",
    "vpnTunnels.insert",
  ]

  events = {
    nodes = {
      function = "node-joined"
      methods  = [for pair in setproduct(local.versions, local.node_methods) : "${pair[0]}compute.${pair[1]}"]
    }
    routes = {
      function = "peering-changed"
      methods  = [for pair in setproduct(local.versions, local.route_methods) : "${pair[0]}compute.${pair[1]}"]
    }
  }

  own_events = merge([
    for kind, has in { nodes = var.has_nodes, routes = var.has_networks } : {
      for method in local.events[kind].methods : method => local.events[kind].function if has
    }
  ]...)

  topics = { for kind, event in local.events : kind => event.function if var.has_sinks }
}

# Global, because a regional trigger hears of its own region alone: networks, peerings and routes are global, and
# nodes may be in any region. Eventarc delivers again, for 24 hours, what a function did not acknowledge; there is
# nothing to set for that, only `retry_policy` to leave away.
resource "google_eventarc_trigger" "audit_log" {
  for_each = local.own_events

  project         = var.project
  location        = "global"
  name            = "${local.name}-${lower(replace(replace(each.key, "compute.", ""), ".", "-"))}"
  service_account = google_service_account.events.email
  labels          = local.labels

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.audit.log.v1.written"
  }

  matching_criteria {
    attribute = "serviceName"
    value     = "compute.googleapis.com"
  }

  matching_criteria {
    attribute = "methodName"
    value     = each.key
  }

  destination {
    cloud_run_service {
      service = local.services[each.value]
      region  = var.region
    }
  }

  depends_on = [google_project_iam_member.event_receiver, google_cloud_run_v2_service_iam_member.caller]
}

# Where the log sinks of other projects, of folders or of an organisation write the same entries.
resource "google_pubsub_topic" "sink" {
  for_each = local.topics

  project    = var.project
  name       = "${local.name}-${each.key}"
  labels     = local.labels
  depends_on = [google_project_service.needed]
}

resource "google_eventarc_trigger" "sink" {
  for_each = local.topics

  project         = var.project
  location        = var.region
  name            = "${local.name}-sink-${each.key}"
  service_account = google_service_account.events.email
  labels          = local.labels

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.pubsub.topic.v1.messagePublished"
  }

  transport {
    pubsub {
      topic = google_pubsub_topic.sink[each.key].id
    }
  }

  destination {
    cloud_run_service {
      service = local.services[each.value]
      region  = var.region
    }
  }

  depends_on = [google_project_iam_member.event_receiver, google_cloud_run_v2_service_iam_member.caller]
}
