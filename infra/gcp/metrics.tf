# The functions log; the metrics are made from what they log. Names of events: LogEvent in shared/core/cloud.ts.
locals {
  logged = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=(${join(" OR ", [for key in keys(local.functions) : "\"${local.name}-${key}\""])})"

  # How many entries there are.
  counters = {
    NodesProven = {
      description = "Nodes that proved their rule set."
      filter      = "jsonPayload.message=\"NodeProven\""
      labels      = ["cloud", "cluster"]
    }
    # What is tried again has not failed yet, and is a warning.
    NodesFailed = {
      description = "Nodes that refused their rule set or could not put it in force."
      filter      = "jsonPayload.message=\"NodeFailed\" AND severity>=ERROR"
      labels      = ["cloud", "cluster"]
    }
    NodesTimedOut = {
      description = "Nodes whose event was given up."
      filter      = "jsonPayload.message=\"NodeTimedOut\""
      labels      = ["cloud", "cluster"]
    }
    NodesHeld = {
      description = "Nodes whose rules were kept, because far fewer routes were found."
      filter      = "jsonPayload.message=\"NodeHeld\""
      labels      = ["cloud", "cluster"]
    }
    PermissionDenied = {
      description = "Calls that were denied."
      filter      = "jsonPayload.message=(\"ReconcileFailed\" OR \"NodeFailed\" OR \"RecordFailed\") AND jsonPayload.code=\"permission-denied\""
      labels      = []
    }
    SweepsFinished = {
      description = "Sweeps that ended well."
      filter      = "jsonPayload.message=\"SweepFinished\" AND jsonPayload.dryRun=false AND jsonPayload.errors=0"
      labels      = []
    }
    # Answers of 500 are no errors: so does a function have its event delivered again.
    FunctionErrors = {
      description = "Passes that failed, time-outs, and instances that ended."
      filter      = "(jsonPayload.message=\"ReconcileFailed\" OR (log_id(\"run.googleapis.com/requests\") AND httpRequest.status=504) OR (log_id(\"run.googleapis.com/varlog/system\") AND severity>=ERROR))"
      labels      = []
    }
  }

  # What the entries say.
  distributions = {
    SecondsToProven = {
      description = "Seconds from a node's launch to its proof."
      filter      = "jsonPayload.message=\"NodeProven\" AND jsonPayload.secondsToProven>=0"
      value       = "jsonPayload.secondsToProven"
      unit        = "s"
      labels      = ["cloud", "cluster"]
    }
    # Sweeps that find none leave no entry, so that any value of these two is a reason for an alert.
    NodesUnproven = {
      description = "Nodes that had the time to prove their rule set and have not, as each sweep counts them."
      filter      = "jsonPayload.message=\"ClusterSwept\" AND jsonPayload.unproven>0"
      value       = "jsonPayload.unproven"
      unit        = "1"
      labels      = ["cloud", "cluster"]
    }
    NodesNeedReboot = {
      description = "Nodes that follow no metadata before they boot again, as each sweep counts them."
      filter      = "jsonPayload.message=\"ClusterSwept\" AND jsonPayload.needsReboot>0"
      value       = "jsonPayload.needsReboot"
      unit        = "1"
      labels      = ["cloud", "cluster"]
    }
    ApiCalls = {
      description = "Calls to Google Cloud, by invocation."
      filter      = "jsonPayload.message=\"ApiCallsCounted\""
      value       = "jsonPayload.calls"
      unit        = "1"
      labels      = ["cloud"]
    }
    ApiThrottles = {
      description = "Calls that Google Cloud refused because there were too many, by invocation."
      filter      = "jsonPayload.message=\"ApiCallsCounted\" AND jsonPayload.throttles>0"
      value       = "jsonPayload.throttles"
      unit        = "1"
      labels      = ["cloud"]
    }
  }

  # As Cloud Monitoring finds them; the names of resources, so that alerts and dashboard are made after them.
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

  # From 1 to 46,000, each a quarter wider than the one before.
  bucket_options {
    exponential_buckets {
      num_finite_buckets = 48
      growth_factor      = 1.25
      scale              = 1
    }
  }

  depends_on = [google_project_service.needed]
}
