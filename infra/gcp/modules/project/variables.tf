variable "project" {
  description = "Id of the project that has nodes or owns networks of nodes."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is the id of a project, like identity-nonprod: neither its number nor its name."
  }
}

variable "stage" {
  description = "Which deployment it belongs to, as in the module that has the functions."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$", var.stage))
    error_message = "stage is 1 to 12 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "functions" {
  description = "The service accounts of the functions: the output `identities`."
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
  description = "Whether the project owns networks that nodes are in: its own, or as the host of a Shared VPC."
  type        = bool
  default     = true
}

variable "node_service_accounts" {
  description = "E-mail addresses of the service accounts that its nodes run as; they belong to the project. Empty: the default one of Compute Engine."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for email in var.node_service_accounts : can(regex("^[^@ ]+@[a-z0-9.-]+\\.gserviceaccount\\.com$", email))])
    error_message = "node_service_accounts are e-mail addresses of service accounts: they end in .gserviceaccount.com."
  }
}

variable "allow_restart" {
  description = "Whether the backfill may reset nodes. It does only where a cluster in peermasq.yaml has `restart` too."
  type        = bool
  default     = false
}

variable "events" {
  description = "Where log sinks of the project write: the output `events`. Null: nowhere, because a sink of the organisation tells already."
  type        = map(object({ topic = string, filter = string }))
  default     = null
}

variable "seed" {
  description = "What the metadata of the project carries for instances without a startup script of their own: the output `seed`. Null: nothing."
  type        = object({ program = string, startup_script = string })
  default     = null
}

variable "startup_script" {
  description = "With `seed`: the startup script that the metadata of the project has so far. It is kept, and run first."
  type        = string
  default     = ""
}
