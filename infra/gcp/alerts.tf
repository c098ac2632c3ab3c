locals {
  by_cluster = "Cluster: $${metric.label.cluster}."
  by_service = "Function: $${resource.label.service_name}."

  # Alerts that begin when a metric has any value above the threshold. The name is also the heading in the runbook,
  # after `gcp-`.
  alerts = {
    nodes-timed-out = {
      metric    = "NodesTimedOut"
      severity  = "ERROR"
      advice    = "Nodes were not proven half an hour after they joined: their pods may not reach peered networks. The log entry NodeTimedOut says why. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 5
      threshold = 0
      lasting   = 0
    }
    nodes-failed = {
      metric    = "NodesFailed"
      severity  = "ERROR"
      advice    = "A node refused its rules or could not put them in force. The log entry NodeFailed says why and what to do. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 5
      threshold = 0
      lasting   = 0
    }
    nodes-need-reboot = {
      metric    = "NodesNeedReboot"
      severity  = "ERROR"
      advice    = "Nodes booted before they had their metadata, and follow none until they boot again: their pods may not reach peered networks. Restart them, one at a time. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 2 * var.sweep_minutes
      threshold = 0
      lasting   = 0
    }
    nodes-unproven = {
      metric    = "NodesUnproven"
      severity  = "ERROR"
      advice    = "Sweep after sweep finds nodes that have not proven their rules: their pods may not reach peered networks. Find out which nodes, and what they report. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 2 * var.sweep_minutes
      threshold = 0
      lasting   = 2 * var.sweep_minutes
    }
    nodes-held = {
      metric    = "NodesHeld"
      severity  = "ERROR"
      advice    = "Far fewer routes were found than a node has rules for, so its rules were kept. Find out who removed the routes; if that was meant, run a backfill with allowRouteLoss. ${local.by_cluster}"
      group     = "metric.label.cluster"
      minutes   = 5
      threshold = 0
      lasting   = 0
    }
    permission-denied = {
      metric    = "PermissionDenied"
      severity  = "CRITICAL"
      advice    = "Google Cloud denied a call of peermasq: nodes may not be served at all. The log entry names the permission and the project. ${local.by_service}"
      group     = "resource.label.service_name"
      minutes   = 5
      threshold = 0
      lasting   = 0
    }
    function-errors = {
      metric    = "FunctionErrors"
      severity  = "WARNING"
      advice    = "A pass failed, ran out of time, or its instance ended. Events and sweeps are tried again, a backfill by hand is not. The log says why. ${local.by_service}"
      group     = "resource.label.service_name"
      minutes   = 5
      threshold = 0
      lasting   = 0
    }
    api-throttles = {
      metric    = "ApiThrottles"
      severity  = "WARNING"
      advice    = "Google Cloud throttles the calls of peermasq. Nothing is lost, but nodes wait longer. See who else uses up the quota, or have it raised."
      group     = "metric.label.cloud"
      minutes   = 2 * var.sweep_minutes
      threshold = 20
      lasting   = 2 * var.sweep_minutes
    }
  }

  sweep_advice = "No sweep has ended well for a while: lost events and drift go unseen. See whether its schedule is enabled and what its log says."
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

  # Metrics of logs are silent where nothing happens, so an alert ends by silence. 30 minutes are the least.
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

  # A metric that nothing is counted in tells zeros for a while, and then nothing.
  conditions {
    display_name = "no sweep was counted"

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
    display_name = "nothing is counted"

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
