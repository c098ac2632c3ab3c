locals {
  # These names are for PromQL, because no other query language can sum the values of a distribution.
  promql_prefix = "logging_googleapis_com:user_${replace(local.name, "-", "_")}_"

  count_by_cluster = { for key in keys(local.counters) : key => {
    timeSeriesQuery = {
      timeSeriesFilter = {
        filter = "resource.type=\"cloud_run_revision\" metric.type=\"${local.metric[key]}\""
        aggregation = {
          alignmentPeriod    = "300s"
          perSeriesAligner   = "ALIGN_DELTA"
          crossSeriesReducer = "REDUCE_SUM"
          groupByFields      = contains(local.counters[key].labels, "cluster") ? ["metric.label.cluster"] : ["resource.label.service_name"]
        }
      }
    }
    plotType       = "LINE"
    legendTemplate = contains(local.counters[key].labels, "cluster") ? "${key} $${metric.labels.cluster}" : key
  } }

  percentile_by_cluster = { for pair in setproduct(keys(local.distributions), ["50", "99"]) : "${pair[0]} ${pair[1]}" => {
    timeSeriesQuery = {
      timeSeriesFilter = {
        filter = "resource.type=\"cloud_run_revision\" metric.type=\"${local.metric[pair[0]]}\""
        aggregation = {
          alignmentPeriod    = "300s"
          perSeriesAligner   = "ALIGN_PERCENTILE_${pair[1]}"
          crossSeriesReducer = "REDUCE_MAX"
          groupByFields      = contains(local.distributions[pair[0]].labels, "cluster") ? ["metric.label.cluster"] : []
        }
      }
    }
    plotType       = "LINE"
    legendTemplate = contains(local.distributions[pair[0]].labels, "cluster") ? "p${pair[1]}, $${metric.labels.cluster}" : "p${pair[1]}"
  } }

  sum = { for key in ["ApiCalls", "ApiThrottles"] : key => {
    timeSeriesQuery = {
      prometheusQuery = "sum(increase(${local.promql_prefix}${key}_sum{monitored_resource=\"cloud_run_revision\"}[5m]))"
    }
    plotType       = "LINE"
    legendTemplate = key
  } }

  # Metrics that Cloud Run itself provides.
  run = { for key, aligner in {
    "container/memory/utilizations" = "ALIGN_PERCENTILE_99"
    "request_count"                 = "ALIGN_DELTA"
    "request_latencies"             = "ALIGN_PERCENTILE_99"
    } : key => {
    timeSeriesQuery = {
      timeSeriesFilter = {
        filter = "resource.type=\"cloud_run_revision\" metric.type=\"run.googleapis.com/${key}\" resource.label.service_name=monitoring.regex.full_match(\"${local.name}-(${join("|", keys(local.functions))})\")"
        aggregation = {
          alignmentPeriod    = "300s"
          perSeriesAligner   = aligner
          crossSeriesReducer = aligner == "ALIGN_DELTA" ? "REDUCE_SUM" : "REDUCE_MAX"
          groupByFields      = aligner == "ALIGN_DELTA" ? ["resource.label.service_name", "metric.label.response_code"] : ["resource.label.service_name"]
        }
      }
    }
    plotType = "LINE"
  } }

  graphs = [
    { title = "Nodes", dataSets = [for key in ["NodesProven", "NodesFailed", "NodesHeld", "NodesTimedOut"] : local.count_by_cluster[key]] },
    { title = "Nodes unproven for too long", dataSets = [local.percentile_by_cluster["NodesUnproven 99"]] },
    { title = "Nodes that need a reboot", dataSets = [local.percentile_by_cluster["NodesNeedReboot 99"]] },
    { title = "Seconds from launch to proof", dataSets = [local.percentile_by_cluster["SecondsToProven 50"], local.percentile_by_cluster["SecondsToProven 99"]] },
    { title = "Source ports in use for one destination, in percent", dataSets = [local.percentile_by_cluster["SourcePortsUsedPercent 99"]] },
    { title = "Calls to Google Cloud", dataSets = values(local.sum) },
    { title = "Errors and denied calls", dataSets = [local.count_by_cluster["FunctionErrors"], local.count_by_cluster["PermissionDenied"]] },
    { title = "Responses by status code (500 redelivers the event)", dataSets = [local.run["request_count"]] },
    { title = "Longest runs, in milliseconds", dataSets = [local.run["request_latencies"]] },
    { title = "Memory", dataSets = [local.run["container/memory/utilizations"]] },
  ]

  # Three tiles per row.
  tiles = [for index, graph in local.graphs : {
    xPos   = index % 3 * 4
    yPos   = floor(index / 3) * 4
    width  = 4
    height = 4
    widget = { title = graph.title, xyChart = { dataSets = graph.dataSets } }
  }]

  failures = {
    xPos   = 0
    yPos   = ceil(length(local.graphs) / 3) * 4
    width  = 12
    height = 6
    widget = {
      title = "Errors"
      logsPanel = {
        filter        = "${local.logged} AND (severity>=ERROR OR jsonPayload.message=(\"NodeFailed\" OR \"NodeHeld\" OR \"RecordFailed\"))"
        resourceNames = ["projects/${var.project}"]
      }
    }
  }
}

resource "google_monitoring_dashboard" "this" {
  project = var.project
  dashboard_json = jsonencode({
    displayName  = local.name
    mosaicLayout = { columns = 12, tiles = concat(local.tiles, [local.failures]) }
  })
}
