# The same permissions as in shared/gcp/client/permissions.ts. A test compares the lists.
locals {
  permissions = {
    nodes = [
      "compute.instances.get",
      "compute.instances.getGuestAttributes",
      "compute.instances.list",
      "compute.instances.setLabels",
      "compute.instances.setMetadata",
      "compute.zoneOperations.get",
    ]
    networks = [
      "compute.networks.get",
      "compute.networks.listPeeringRoutes",
      "compute.routers.get",
      "compute.routers.list",
      "compute.routes.list",
      "compute.subnetworks.list",
    ]
    node_identity = ["iam.serviceAccounts.actAs"]
    restart       = ["compute.instances.reset"]
  }

  descriptions = {
    nodes         = "Reads nodes and their reports, and sets their metadata and labels."
    networks      = "Reads networks, the routes of their peerings, and their subnets and routers."
    node_identity = "Allows setting the metadata of instances that run as these service accounts."
    restart       = "Resets nodes that need a reboot."
  }

  roles = toset([for role, is_needed in {
    nodes         = var.has_nodes
    networks      = var.has_networks
    node_identity = var.has_nodes
    restart       = var.has_nodes && var.allow_restart
  } : role if is_needed])

  # Every function has these roles in the whole project. Only the backfill has the role for restarts.
  grants = merge([
    for role in setsubtract(local.roles, ["node_identity"]) : {
      for function, email in var.functions : "${role} ${function}" => { role = role, email = email }
      if role != "restart" || function == "backfill"
    }
  ]...)

  default_identity = "${data.google_project.this.number}-compute@developer.gserviceaccount.com"
  node_identities  = length(var.node_service_accounts) > 0 ? var.node_service_accounts : [local.default_identity]

  identity_grants = var.has_nodes ? {
    for pair in setproduct(keys(var.functions), local.node_identities) : "${pair[0]} ${pair[1]}" => {
      function = pair[0]
      node     = pair[1]
    }
  } : {}
}

data "google_project" "this" {
  project_id = var.project
}

resource "google_project_iam_custom_role" "this" {
  for_each = local.roles

  project     = var.project
  role_id     = "peermasq_${replace(var.stage, "-", "_")}_${each.key}"
  title       = "peermasq ${var.stage}: ${replace(each.key, "_", " ")}"
  description = local.descriptions[each.key]
  permissions = local.permissions[each.key]
}

resource "google_project_iam_member" "function" {
  for_each = local.grants

  project = var.project
  role    = google_project_iam_custom_role.this[each.value.role].name
  member  = "serviceAccount:${each.value.email}"
}

resource "google_service_account_iam_member" "function" {
  for_each = local.identity_grants

  service_account_id = "projects/${var.project}/serviceAccounts/${each.value.node}"
  role               = google_project_iam_custom_role.this["node_identity"].name
  member             = "serviceAccount:${var.functions[each.value.function]}"
}
