# An instance that boots with this metadata runs the watcher from the start, so there is no race with the function that
# writes the rule set. An instance with its own startup script runs only that script.
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
