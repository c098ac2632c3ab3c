# Log sinks write audit log entries to a topic for each kind, and the topic triggers the function. A trigger for the
# audit log itself would wait 10 seconds for an answer, and then deliver again what the function still works on; one
# that belongs to a function waits 600.
locals {
  # Those of shared/gcp/events/instance-inserted.ts and routes-changed.ts; a test compares them.
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

  # A call has one entry when its operation begins and one when it has ended, or a single one. A node is served from the
  # first on; of routes, nothing has changed before the last. The log names a method with and without the API's version.
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
