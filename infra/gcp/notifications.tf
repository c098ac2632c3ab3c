resource "google_monitoring_notification_channel" "email" {
  count = var.alarm_email == "" ? 0 : 1

  project      = var.project
  display_name = "peermasq ${var.stage}"
  type         = "email"
  labels       = { email_address = var.alarm_email }
  depends_on   = [google_project_service.needed]
}

locals {
  channels = concat(var.notification_channels, google_monitoring_notification_channel.email[*].name)
}
