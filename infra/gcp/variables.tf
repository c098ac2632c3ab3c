variable "project" {
  description = "ID of the project that runs the functions."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is the id of a project, like identity-nonprod: neither its number nor its name."
  }
}

variable "region" {
  description = "Region of the functions. Nodes may be in any region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a region, like europe-west1: not a zone."
  }
}

variable "stage" {
  description = "Name of this deployment; part of every resource's name."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$", var.stage))
    error_message = "stage is 1 to 12 lower-case letters, digits and hyphens, a letter first and no hyphen last: names of service accounts have room for no more."
  }
}

variable "dist" {
  description = "The folder dist/gcp written by `npm run build`. Null: the one in this module's repository."
  type        = string
  default     = null
}

variable "node_projects" {
  description = "IDs of the projects whose nodes are served. Empty: only `project`. Every other project needs modules/project."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.node_projects : can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", id))])
    error_message = "node_projects are ids of projects, like identity-nonprod."
  }
}

variable "has_nodes" {
  description = "Whether `project` itself has nodes. The functions then receive their events and may write to them."
  type        = bool
  default     = true
}

variable "has_networks" {
  description = "Whether `project` itself owns networks of nodes. The functions then receive their changes and may read them."
  type        = bool
  default     = true
}

variable "node_service_accounts" {
  description = "E-mail addresses of the service accounts that the nodes of `project` run as. Empty: Compute Engine's default service account."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for email in var.node_service_accounts : can(regex("^[^@ ]+@[a-z0-9.-]+\\.gserviceaccount\\.com$", email))])
    error_message = "node_service_accounts are e-mail addresses of service accounts: they end in .gserviceaccount.com."
  }
}

variable "allow_restart" {
  description = "Whether the backfill may reset nodes of `project`. It does so only for clusters with `restart` in peermasq.yaml."
  type        = bool
  default     = false
}

variable "sweep_minutes" {
  description = "Minutes between two sweeps: the longest delay after a lost event, unless a sweep takes longer because it restarts nodes."
  type        = number
  default     = 5

  validation {
    condition     = contains([5, 6, 10, 12, 15, 20, 30, 60], var.sweep_minutes)
    error_message = "sweep_minutes divides an hour: 5, 6, 10, 12, 15, 20, 30 or 60."
  }
}

variable "backfill_seconds" {
  description = "Maximum duration of a sweep or a backfill, in seconds."
  type        = number
  default     = 1800

  validation {
    condition     = var.backfill_seconds >= 60 && var.backfill_seconds <= 3600 && floor(var.backfill_seconds) == var.backfill_seconds
    error_message = "backfill_seconds is a whole number from 60 to 3600."
  }
}

variable "max_instances" {
  description = "Maximum instances of node-joined. Each handles up to 250 events at once and makes up to 15 of the 25 writes a second that Compute Engine accepts."
  type        = number
  default     = 2

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 20 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances is a whole number from 1 to 20."
  }
}

variable "invokers" {
  description = "IAM members who may call the backfill manually, such as group:sre@example.com. Empty: none, and the function is reachable only from inside Google Cloud."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.invokers : can(regex("^(user|group|serviceAccount|principal|principalSet):.+$", member))])
    error_message = "invokers are named one by one: user:…, group:…, serviceAccount:…, principal:… or principalSet:…. The function is never public."
  }
}

variable "alarm_email" {
  description = "Receives mail when an alert opens and closes. Empty: no mail."
  type        = string
  default     = ""

  validation {
    condition     = var.alarm_email == "" || can(regex("^[^@ ]+@[^@ ]+$", var.alarm_email))
    error_message = "alarm_email is one e-mail address."
  }
}

variable "notification_channels" {
  description = "Names of existing notification channels: projects/PROJECT/notificationChannels/NUMBER."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", name))])
    error_message = "notification_channels are like projects/identity-nonprod/notificationChannels/123456."
  }
}

variable "runbook" {
  description = "Where alerts link to: the URL of your copy of docs/runbook.md."
  type        = string
  default     = "docs/runbook.md"
}

variable "seed" {
  description = "Whether to put the startup script and the node program in the metadata of `project`. Every instance of the project without its own startup script then runs them."
  type        = bool
  default     = false
}

variable "startup_script" {
  description = "With `seed`: the startup script already in the metadata of `project`. It is kept and runs first."
  type        = string
  default     = ""
}

variable "enable_apis" {
  description = "Whether to enable the APIs that the deployment needs in `project`. They stay enabled after destroy."
  type        = bool
  default     = true
}

variable "labels" {
  description = "Additional labels for resources that support labels."
  type        = map(string)
  default     = {}
}
