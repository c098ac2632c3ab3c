locals {
  name   = "peermasq-${var.stage}"
  dist   = coalesce(var.dist, "${path.module}/../../dist/gcp")
  labels = merge({ application = "peermasq", stage = var.stage }, var.labels)

  # peering-changed and backfill each run one invocation at a time, so that two invocations never restart nodes of the
  # same cluster at the same time. node-joined has few instances that handle many events each, because each process
  # limits its own rate of Compute Engine calls.
  functions = {
    node-joined = {
      description   = "Pushes rules to a node that joined a cluster."
      entry_point   = "nodeJoined"
      events        = "nodes"
      seconds       = 120
      max_instances = var.max_instances
      max_requests  = 250
      ingress       = "ALLOW_INTERNAL_ONLY"
    }
    peering-changed = {
      description   = "Updates the nodes that a change of peerings or routes affects."
      entry_point   = "peeringChanged"
      events        = "routes"
      seconds       = 540
      max_instances = 1
      max_requests  = 1
      ingress       = "ALLOW_INTERNAL_ONLY"
    }
    backfill = {
      description   = "Updates all nodes every ${var.sweep_minutes} minutes, and on request."
      entry_point   = "backfill"
      events        = ""
      seconds       = var.backfill_seconds
      max_instances = 1
      max_requests  = 1
      # Manual calls come from outside Google Cloud. IAM allows them only for the configured invokers.
      ingress = length(var.invokers) > 0 ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY"
    }
  }

  # The names of the functions in Cloud Run and IAM.
  services = {
    for key in keys(local.functions) : key => basename(google_cloudfunctions2_function.this[key].service_config[0].service)
  }
}

data "archive_file" "source" {
  type        = "zip"
  source_dir  = local.dist
  output_path = "${path.root}/.terraform/${local.name}.zip"
}

resource "google_storage_bucket" "source" {
  project                     = var.project
  name                        = "${replace(replace(var.project, ":", "-"), ".", "-")}-${local.name}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true
  labels                      = local.labels

  depends_on = [google_project_service.needed]
}

# The name contains a hash of the content, so that Terraform redeploys the functions when the content changes.
resource "google_storage_bucket_object" "source" {
  bucket = google_storage_bucket.source.name
  name   = "functions-${data.archive_file.source.output_sha256}.zip"
  source = data.archive_file.source.output_path
}

resource "google_cloudfunctions2_function" "this" {
  for_each = local.functions

  project     = var.project
  location    = var.region
  name        = "${local.name}-${each.key}"
  description = each.value.description
  labels      = local.labels

  build_config {
    # The newest Node.js version that both Lambda and Cloud Run functions support.
    runtime         = "nodejs24"
    entry_point     = each.value.entry_point
    service_account = google_service_account.build.id

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.function[each.key].email
    timeout_seconds                  = each.value.seconds
    available_memory                 = "1Gi"
    available_cpu                    = "1"
    min_instance_count               = 0
    max_instance_count               = each.value.max_instances
    max_instance_request_concurrency = each.value.max_requests
    ingress_settings                 = each.value.ingress
    all_traffic_on_latest_revision   = true

    environment_variables = {
      GOOGLE_CLOUD_PROJECT        = var.project
      PEERMASQ_INVOCATION_SECONDS = each.value.seconds
      PEERMASQ_PROJECTS           = join(",", length(var.node_projects) > 0 ? var.node_projects : [var.project])
      PEERMASQ_STAGE              = var.stage
    }
  }

  dynamic "event_trigger" {
    for_each = compact([each.value.events])

    content {
      event_type            = "google.cloud.pubsub.topic.v1.messagePublished"
      pubsub_topic          = google_pubsub_topic.events[event_trigger.value].id
      trigger_region        = var.region
      service_account_email = google_service_account.events.email
      retry_policy          = "RETRY_POLICY_RETRY"
    }
  }

  depends_on = [
    google_project_iam_member.build,
    google_project_iam_member.event_receiver,
    google_project_service.needed,
  ]
}
