locals {
  by_cluster = "Cluster: $${metric.label.cluster}."
  by_service = "Function: $${resource.label.service_name}."

  # Alerts that open when a metric exceeds its threshold. Each name, with the prefix `gcp-`, is also a heading in the
  # runbook.
  alerts = {
    nodes-timed-out = {
      metric    = "NodesTimedOut"
      severity  = "ERROR"
      advice    = "Nodes were not proven half an hour after they joined, so their pods may not reach peered networks. The log entry NodeTimedOut contains the reason. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 5
      threshold = 0
      lasting   = 0
    }
    nodes-failed = {
      metric    = "NodesFailed"
      severity  = "ERROR"
      advice    = "A node refused its rules or could not apply them. The log entry NodeFailed contains the reason and says what to do. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 5
      threshold = 0
      lasting   = 0
    }
    nodes-need-reboot = {
      metric    = "NodesNeedReboot"
      severity  = "ERROR"
      advice    = "Nodes booted before their metadata was set, so no watcher runs on them and their pods may not reach peered networks. Restart the nodes, one at a time. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 2 * var.sweep_minutes
      threshold = 0
      lasting   = 0
    }
    nodes-unproven = {
      metric    = "NodesUnproven"
      severity  = "ERROR"
      advice    = "Consecutive sweeps found nodes that have not proven their rules, so their pods may not reach peered networks. Find the nodes, and read their reports. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 2 * var.sweep_minutes
      threshold = 0
      lasting   = 2 * var.sweep_minutes
    }
    nodes-held = {
      metric    = "NodesHeld"
      severity  = "ERROR"
      advice    = "Discovery found far fewer routes than a node has rules for, so the node keeps its rules. Find out why the routes are gone. If the change is intended, run a backfill with allowRouteLoss. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 5
      threshold = 0
      lasting   = 0
    }
    source-ports = {
      metric    = "SourcePortsUsedPercent"
      severity  = "WARNING"
      advice    = "One node has many connections to one destination. When its source ports run out, new connections fail. Reuse connections, spread the pods over more nodes or the destination over more addresses, or add routes to the pods at the peer. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 5
      threshold = 70
      lasting   = 0
    }
    permission-denied = {
      metric    = "PermissionDenied"
      severity  = "CRITICAL"
      advice    = "Google Cloud denied a call, so nodes may get no rules at all. The log entry names the permission and the project. ${local.by_service}"
      group     = "resource.label.service_name"
      minutes   = 5
      threshold = 0
      lasting   = 0
    }
    function-errors = {
      metric    = "FunctionErrors"
      severity  = "WARNING"
      advice    = "An invocation failed or timed out, or its instance was terminated. Events and sweeps are retried, but manual backfills are not. The log contains the reason. ${local.by_service}"
      group     = "resource.label.service_name"
      minutes   = 5
      threshold = 0
      lasting   = 0
    }
    api-throttles = {
      metric    = "ApiThrottles"
      severity  = "WARNING"
      advice    = "Google Cloud throttles peermasq's calls. No events are lost, but nodes wait longer. Find out what uses up the quota, or request a higher quota."
      group     = "metric.label.cloud"
      minutes   = 2 * var.sweep_minutes
      threshold = 20
      lasting   = 2 * var.sweep_minutes
    }
  }

  sweep_advice = "No sweep succeeded for three intervals, so lost events and drift go unnoticed. Check that the schedule of the sweep is enabled, and read its log."
}

resource "google_monitoring_alert_policy" "above" {
  for_each = local.alerts

  project               = var.project
  display_name          = "${local.name} ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = each.key

    condition_threshold {
      filter          = "resource.type=\"cloud_run_revision\" AND metric.type=\"${local.metric[each.value.metric]}\""
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = "${each.value.lasting * 60}s"

      aggregations {
        alignment_period     = "${each.value.minutes * 60}s"
        per_series_aligner   = contains(keys(local.counters), each.value.metric) ? "ALIGN_DELTA" : "ALIGN_PERCENTILE_99"
        cross_series_reducer = contains(keys(local.counters), each.value.metric) ? "REDUCE_SUM" : "REDUCE_MAX"
        group_by_fields      = [each.value.group]
      }
    }
  }

  # Log-based metrics have no values when nothing is logged. An alert therefore closes after 30 minutes without data,
  # which is the shortest possible time.
  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    subject   = "${local.name}: ${each.key}"
    content   = "${each.value.advice}\n\n${var.runbook}#gcp-${each.key}"
  }
}

resource "google_monitoring_alert_policy" "sweep_missing" {
  project               = var.project
  display_name          = "${local.name} sweep-missing"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = local.labels

  # A counter without new log entries reports zeros for a while, and then no values, so both cases need a condition.
  conditions {
    display_name = "no sweep succeeded"

    condition_threshold {
      filter          = "resource.type=\"cloud_run_revision\" AND metric.type=\"${local.metric["SweepsFinished"]}\""
      comparison      = "COMPARISON_LT"
      threshold_value = 1
      duration        = "0s"

      aggregations {
        alignment_period     = "${3 * var.sweep_minutes * 60}s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  conditions {
    display_name = "no data about sweeps"

    condition_absent {
      filter   = "resource.type=\"cloud_run_revision\" AND metric.type=\"${local.metric["SweepsFinished"]}\""
      duration = "${3 * var.sweep_minutes * 60}s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    subject   = "${local.name}: sweep-missing"
    content   = "${local.sweep_advice}\n\n${var.runbook}#gcp-sweep-missing"
  }
}
