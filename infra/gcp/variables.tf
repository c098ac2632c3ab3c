variable "project" {
  description = "ID of the project that runs the functions."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project ID, such as identity-nonprod, not a project number or name."
  }
}

variable "region" {
  description = "Region of the functions. Nodes may be in any region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region, such as europe-west1, not a zone."
  }
}

variable "stage" {
  description = "Name of this deployment. It is part of the name of every resource."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$", var.stage))
    error_message = "stage must have 1 to 12 lower-case letters, digits and hyphens, start with a letter and not end with a hyphen. Longer names do not fit in the names of service accounts."
  }
}

variable "dist" {
  description = "The folder dist/gcp that `npm run build` has written. If null, the folder in this module's repository."
  type        = string
  default     = null
}

variable "node_projects" {
  description = "IDs of the projects whose nodes get rules. If empty, only `project`. Every other project needs modules/project."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.node_projects : can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", id))])
    error_message = "node_projects must be project IDs, such as identity-nonprod."
  }
}

variable "has_nodes" {
  description = "Whether `project` itself has nodes. If so, the functions receive the events of these nodes, and may write the nodes' metadata."
  type        = bool
  default     = true
}

variable "has_networks" {
  description = "Whether `project` itself owns networks that nodes use. If so, the functions are notified when these networks change, and may read the networks."
  type        = bool
  default     = true
}

variable "node_service_accounts" {
  description = "E-mail addresses of the service accounts that the nodes of `project` run as. If empty, Compute Engine's default service account."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for email in var.node_service_accounts : can(regex("^[^@ ]+@[a-z0-9.-]+\\.gserviceaccount\\.com$", email))])
    error_message = "node_service_accounts must be e-mail addresses of service accounts, which end with .gserviceaccount.com."
  }
}

variable "allow_restart" {
  description = "Whether the backfill may reset nodes of `project`. It resets only nodes of clusters with `restart` in peermasq.yaml."
  type        = bool
  default     = false
}

variable "sweep_minutes" {
  description = "Minutes between two sweeps. This is also the longest delay after a lost event, unless a sweep takes longer because it restarts nodes."
  type        = number
  default     = 5

  validation {
    condition     = contains([5, 6, 10, 12, 15, 20, 30, 60], var.sweep_minutes)
    error_message = "sweep_minutes must divide an hour: 5, 6, 10, 12, 15, 20, 30 or 60."
  }
}

variable "backfill_seconds" {
  description = "Maximum duration of a sweep or a backfill, in seconds."
  type        = number
  default     = 1800

  validation {
    condition     = var.backfill_seconds >= 60 && var.backfill_seconds <= 3600 && floor(var.backfill_seconds) == var.backfill_seconds
    error_message = "backfill_seconds must be a whole number from 60 to 3600."
  }
}

variable "max_instances" {
  description = "Maximum number of instances of node-joined. Each instance handles up to 250 events at the same time, and makes up to 15 of the 25 writes per second that Compute Engine accepts."
  type        = number
  default     = 2

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 20 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances must be a whole number from 1 to 20."
  }
}

variable "invokers" {
  description = "IAM members who may call the backfill manually, such as group:sre@example.com. If empty, manual calls are not possible, and the function is reachable only from inside Google Cloud."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.invokers : can(regex("^(user|group|serviceAccount|principal|principalSet):.+$", member))])
    error_message = "invokers must have the form user:…, group:…, serviceAccount:…, principal:… or principalSet:…. The function cannot be public."
  }
}

variable "alarm_email" {
  description = "E-mail address that is notified when an alert opens or closes. If empty, no e-mail is sent."
  type        = string
  default     = ""

  validation {
    condition     = var.alarm_email == "" || can(regex("^[^@ ]+@[^@ ]+$", var.alarm_email))
    error_message = "alarm_email must be a single e-mail address."
  }
}

variable "notification_channels" {
  description = "Names of existing notification channels, in the form projects/PROJECT/notificationChannels/NUMBER."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", name))])
    error_message = "notification_channels must have the form projects/identity-nonprod/notificationChannels/123456."
  }
}

variable "runbook" {
  description = "URL of your copy of docs/runbook.md, to which alerts link."
  type        = string
  default     = "docs/runbook.md"
}

variable "seed" {
  description = "Whether to put the startup script and the node program in the metadata of `project`. Every instance of the project that has no startup script of its own then runs them."
  type        = bool
  default     = false
}

variable "startup_script" {
  description = "The startup script that is already in the metadata of `project`, if `seed` is set. The script is kept, and runs first."
  type        = string
  default     = ""
}

variable "enable_apis" {
  description = "Whether to enable the APIs that the deployment needs in `project`. They stay enabled after `terraform destroy`."
  type        = bool
  default     = true
}

variable "labels" {
  description = "Additional labels for resources that support labels."
  type        = map(string)
  default     = {}
}
