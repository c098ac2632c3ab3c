variable "project" {
  description = "ID of a project that has nodes or owns the networks of nodes."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project ID, such as identity-nonprod, not a project number or name."
  }
}

variable "stage" {
  description = "Name of the deployment. Use the same name as for the module that contains the functions."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$", var.stage))
    error_message = "stage must have 1 to 12 lower-case letters, digits and hyphens, start with a letter and not end with a hyphen."
  }
}

variable "functions" {
  description = "Service accounts of the functions. Use the output `identities`."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["node-joined", "peering-changed", "backfill"], keys(var.functions))) == 0
    error_message = "functions must contain a service account for each of node-joined, peering-changed and backfill. Use the output `identities`."
  }
}

variable "has_nodes" {
  description = "Whether the project has nodes."
  type        = bool
  default     = true
}

variable "has_networks" {
  description = "Whether the project owns networks of nodes, either of its own nodes or as the host project of a Shared VPC."
  type        = bool
  default     = true
}

variable "node_service_accounts" {
  description = "E-mail addresses of the service accounts that the project's nodes run as. The accounts must be in the same project. If empty, Compute Engine's default service account."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for email in var.node_service_accounts : can(regex("^[^@ ]+@[a-z0-9.-]+\\.gserviceaccount\\.com$", email))])
    error_message = "node_service_accounts must be e-mail addresses of service accounts, which end with .gserviceaccount.com."
  }
}

variable "allow_restart" {
  description = "Whether the backfill may reset nodes. It resets only nodes of clusters with `restart` in peermasq.yaml."
  type        = bool
  default     = false
}

variable "events" {
  description = "Destinations of the project's log sinks. Use the output `events`. If null, the module creates no sinks, because an organisation sink covers the project."
  type        = map(object({ topic = string, filter = string }))
  default     = null
}

variable "seed" {
  description = "Metadata for instances of the project that have no startup script of their own. Use the output `seed`. If null, the module writes no metadata."
  type        = object({ program = string, startup_script = string })
  default     = null
}

variable "startup_script" {
  description = "The startup script that is already in the project's metadata, if `seed` is set. The script is kept, and runs first."
  type        = string
  default     = ""
}
