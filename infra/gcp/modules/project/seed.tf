# An instance that boots with these follows its metadata from the start, and cannot lose the race against the
# function that writes it. An instance with a startup script of its own runs that one instead.
locals {
  seed = var.seed == null ? {} : {
    "enable-guest-attributes" = "TRUE"
    "peermasq-program"        = var.seed.program
    "startup-script"          = "${var.seed.startup_script}${var.startup_script}"
  }
}

resource "google_compute_project_metadata_item" "seed" {
  for_each = local.seed

  project = var.project
  key     = each.key
  value   = each.value
}
