# Log sinks write audit log entries to one topic per kind of event, and the topic triggers the function. An audit log
# trigger has an acknowledgement deadline of 10 seconds and would redeliver events that are still being handled; a
# function's own trigger has 600.
locals {
  # The methods of shared/gcp/events/instance-inserted.ts and routes-changed.ts; a test compares them.
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

  # A call has an entry when its operation starts and one when it ends, or a single one. Nodes are served from the
  # first entry; routes have changed only at the last. Method names appear with and without the API version.
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
