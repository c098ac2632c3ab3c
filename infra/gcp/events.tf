# Log sinks write audit log entries to one topic per kind of event, and the topic triggers the function. A direct audit
# log trigger is not used: its acknowledgement deadline is 10 seconds, so it would redeliver events that are still being
# handled. The deadline of a topic's trigger is 600 seconds.
locals {
  # The same methods as in shared/gcp/events/instance-inserted.ts and routes-changed.ts. A test compares the lists.
  methods = {
    nodes = [
      "instances.bulkInsert",
      "instances.insert",
      "regionInstances.bulkInsert",
    ]
    routes = [
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
  }

  # An API call is logged either with one entry, or with one when its operation starts and another when it ends. Both
  # entries about new nodes are handled; a route change is complete only when the last entry is logged. Entries name
  # methods with or without the API version.
  events = { for kind, methods in local.methods : kind => {
    topic = google_pubsub_topic.events[kind].id
    filter = join(" AND ", concat([
      "log_id(\"cloudaudit.googleapis.com/activity\")",
      "protoPayload.serviceName=\"compute.googleapis.com\"",
      "protoPayload.methodName=~\"^((v1|beta|alpha)[.])?compute[.](${replace(join("|", methods), ".", "[.]")})$\"",
      "severity<ERROR",
    ], kind == "routes" ? ["(operation.last=true OR NOT operation.first=true)"] : []))
  } }
}

resource "google_pubsub_topic" "events" {
  for_each = local.methods

  project    = var.project
  name       = "${local.name}-${each.key}"
  labels     = local.labels
  depends_on = [google_project_service.needed]
}
