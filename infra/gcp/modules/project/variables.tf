variable "project" {
  description = "ID of the project that has nodes or owns networks of nodes."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is the id of a project, like identity-nonprod: neither its number nor its name."
  }
}

variable "stage" {
  description = "Name of the deployment, as in the module with the functions."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$", var.stage))
    error_message = "stage is 1 to 12 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "functions" {
  description = "The functions' service accounts: the output `identities`."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["node-joined", "peering-changed", "backfill"], keys(var.functions))) == 0
    error_message = "functions has one service account each for node-joined, peering-changed and backfill: take the output `identities`."
  }
}

variable "has_nodes" {
  description = "Whether the project has nodes."
  type        = bool
  default     = true
}

variable "has_networks" {
  description = "Whether the project owns networks of nodes: its own, or as the host of a Shared VPC."
  type        = bool
  default     = true
}

variable "node_service_accounts" {
  description = "E-mail addresses of the service accounts that its nodes run as, in the same project. Empty: Compute Engine's default service account."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for email in var.node_service_accounts : can(regex("^[^@ ]+@[a-z0-9.-]+\\.gserviceaccount\\.com$", email))])
    error_message = "node_service_accounts are e-mail addresses of service accounts: they end in .gserviceaccount.com."
  }
}

variable "allow_restart" {
  description = "Whether the backfill may reset nodes. It does so only for clusters with `restart` in peermasq.yaml."
  type        = bool
  default     = false
}

variable "events" {
  description = "Destination of the project's log sinks: the output `events`. Null: no sinks, because an organisation sink covers the project."
  type        = map(object({ topic = string, filter = string }))
  default     = null
}

variable "seed" {
  description = "Metadata for instances of the project without their own startup script: the output `seed`. Null: none."
  type        = object({ program = string, startup_script = string })
  default     = null
}

variable "startup_script" {
  description = "With `seed`: the startup script already in the project's metadata. It is kept and runs first."
  type        = string
  default     = ""
}
