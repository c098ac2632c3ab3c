locals {
  sinks = var.events == null ? {} : {
    for kind, has in { nodes = var.has_nodes, routes = var.has_networks } : kind => var.events[kind] if has
  }
}

resource "google_logging_project_sink" "this" {
  for_each = local.sinks

  project                = var.project
  name                   = "peermasq-${var.stage}-${each.key}"
  description            = "Sends events about ${each.key} to peermasq."
  destination            = "pubsub.googleapis.com/${each.value.topic}"
  filter                 = each.value.filter
  unique_writer_identity = true
}

resource "google_pubsub_topic_iam_member" "sink" {
  for_each = local.sinks

  topic  = each.value.topic
  role   = "roles/pubsub.publisher"
  member = google_logging_project_sink.this[each.key].writer_identity
}
