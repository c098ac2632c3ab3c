# Metrics are computed from the functions' log entries. LogEvent in shared/core/log.ts lists the names of the entries.
locals {
  logged = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=(${join(" OR ", [for key in keys(local.functions) : "\"${local.name}-${key}\""])})"

  # Metrics that count log entries.
  counters = {
    NodesProven = {
      description = "Nodes that proved their rule set."
      filter      = "jsonPayload.message=\"NodeProven\""
      labels      = ["cloud", "cluster"]
    }
    # A failure that is retried is logged as a warning, and is not counted here.
    NodesFailed = {
      description = "Nodes that refused their rule set or could not apply it."
      filter      = "jsonPayload.message=\"NodeFailed\" AND severity>=ERROR"
      labels      = ["cloud", "cluster"]
    }
    NodesTimedOut = {
      description = "Nodes that were not proven in time."
      filter      = "jsonPayload.message=\"NodeTimedOut\""
      labels      = ["cloud", "cluster"]
    }
    NodesHeld = {
      description = "Nodes whose rules were kept because discovery found far fewer routes."
      filter      = "jsonPayload.message=\"NodeHeld\""
      labels      = ["cloud", "cluster"]
    }
    PermissionDenied = {
      description = "API calls that were denied."
      filter      = "jsonPayload.message=(\"ReconcileFailed\" OR \"NodeFailed\" OR \"RecordFailed\") AND jsonPayload.code=\"permission-denied\""
      labels      = []
    }
    SweepsFinished = {
      description = "Successful sweeps."
      filter      = "jsonPayload.message=\"SweepFinished\" AND jsonPayload.dryRun=false AND jsonPayload.errors=0"
      labels      = []
    }
    # A response of 500 is not an error by itself: it makes Pub/Sub redeliver the event.
    FunctionErrors = {
      description = "Failed invocations, timeouts and terminated instances."
      filter      = "(jsonPayload.message=\"ReconcileFailed\" OR (log_id(\"run.googleapis.com/requests\") AND httpRequest.status=504) OR (log_id(\"run.googleapis.com/varlog/system\") AND severity>=ERROR))"
      labels      = []
    }
  }

  # Metrics whose values come from log entries.
  distributions = {
    SecondsToProven = {
      description = "Seconds from a node's launch to its proof."
      filter      = "jsonPayload.message=\"NodeProven\" AND jsonPayload.secondsToProven>=0"
      value       = "jsonPayload.secondsToProven"
      unit        = "s"
      labels      = ["cloud", "cluster"]
    }
    # NodesUnproven and NodesNeedReboot have no values while all nodes are fine, so any value opens an alert.
    NodesUnproven = {
      description = "Nodes that have not proven their rule set in time, per sweep."
      filter      = "jsonPayload.message=\"ClusterSwept\" AND jsonPayload.unproven>0"
      value       = "jsonPayload.unproven"
      unit        = "1"
      labels      = ["cloud", "cluster"]
    }
    NodesNeedReboot = {
      description = "Nodes without a watcher, which apply their rule set when they next boot, per sweep."
      filter      = "jsonPayload.message=\"ClusterSwept\" AND jsonPayload.needsReboot>0"
      value       = "jsonPayload.needsReboot"
      unit        = "1"
      labels      = ["cloud", "cluster"]
    }
    # Covers the nodes whose reports the sweep has read.
    SourcePortsUsedPercent = {
      description = "The highest percentage of source ports that one node uses for one destination, per sweep."
      filter      = "jsonPayload.message=\"ClusterSwept\" AND jsonPayload.sourcePortsUsedPercent>0"
      value       = "jsonPayload.sourcePortsUsedPercent"
      unit        = "%"
      labels      = ["cloud", "cluster"]
    }
    ApiCalls = {
      description = "API calls to Google Cloud, per invocation."
      filter      = "jsonPayload.message=\"ApiCallsCounted\""
      value       = "jsonPayload.calls"
      unit        = "1"
      labels      = ["cloud"]
    }
    ApiThrottles = {
      description = "Calls that Google Cloud throttled, per invocation."
      filter      = "jsonPayload.message=\"ApiCallsCounted\" AND jsonPayload.throttles>0"
      value       = "jsonPayload.throttles"
      unit        = "1"
      labels      = ["cloud"]
    }
  }

  # The metric types in Cloud Monitoring. They refer to the resources, so that alerts and the dashboard depend on them.
  metric = merge(
    { for key in keys(local.counters) : key => "logging.googleapis.com/user/${google_logging_metric.counter[key].name}" },
    { for key in keys(local.distributions) : key => "logging.googleapis.com/user/${google_logging_metric.distribution[key].name}" },
  )
}

resource "google_logging_metric" "counter" {
  for_each = local.counters

  project          = var.project
  name             = "${local.name}/${each.key}"
  description      = each.value.description
  filter           = "${local.logged} AND ${each.value.filter}"
  label_extractors = { for label in each.value.labels : label => "EXTRACT(jsonPayload.${label})" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    dynamic "labels" {
      for_each = each.value.labels

      content {
        key        = labels.value
        value_type = "STRING"
      }
    }
  }

  depends_on = [google_project_service.needed]
}

resource "google_logging_metric" "distribution" {
  for_each = local.distributions

  project          = var.project
  name             = "${local.name}/${each.key}"
  description      = each.value.description
  filter           = "${local.logged} AND ${each.value.filter}"
  value_extractor  = "EXTRACT(${each.value.value})"
  label_extractors = { for label in each.value.labels : label => "EXTRACT(jsonPayload.${label})" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = each.value.unit

    dynamic "labels" {
      for_each = each.value.labels

      content {
        key        = labels.value
        value_type = "STRING"
      }
    }
  }

  # Buckets from 1 to 46,000, where each bucket is a quarter wider than the previous one. Percentages have one bucket for
  # each whole number.
  bucket_options {
    dynamic "exponential_buckets" {
      for_each = each.value.unit == "%" ? [] : [1]

      content {
        num_finite_buckets = 48
        growth_factor      = 1.25
        scale              = 1
      }
    }

    dynamic "linear_buckets" {
      for_each = each.value.unit == "%" ? [1] : []

      content {
        num_finite_buckets = 100
        width              = 1
        offset             = 0
      }
    }
  }

  depends_on = [google_project_service.needed]
}
