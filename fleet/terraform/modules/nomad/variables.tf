variable "job" {
  description = "The autoscaler's job: its name and its namespace. A job of another name has no rights."
  type = object({
    name      = optional(string, "muster-autoscaler")
    namespace = optional(string, "default")
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in [var.job.name, var.job.namespace] : can(regex("^[A-Za-z0-9-]{1,64}$", name))])
    error_message = "Names have letters, digits and -."
  }
}

variable "scaled_namespaces" {
  description = "The namespaces whose groups are scaled along (`workload` of a policy)."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.scaled_namespaces : can(regex("^[A-Za-z0-9-]{1,64}$", name))])
    error_message = "Name single namespaces, without wildcards."
  }
}

variable "node_policy_name" {
  description = "The policy of the nodes' tokens, for modules/vault's `nomad_secrets`."
  type        = string
  default     = "muster-node"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9-]{1,128}$", var.node_policy_name))
    error_message = "A name has letters, digits and -."
  }
}

variable "core_pool" {
  description = "The node pool that the autoscaler runs in; null where there is one already."
  type        = string
  default     = "core"

  validation {
    condition     = var.core_pool == null || (can(regex("^[A-Za-z0-9_-]{1,128}$", var.core_pool)) && !contains(["all", "default"], coalesce(var.core_pool, "-")))
    error_message = "A pool of its own: neither all nor default, in which scaled nodes are, too."
  }
}

variable "proving_pool" {
  description = "The pool of nodes that are not proved yet: `nomad.proving_pool` of the agent's configuration."
  type        = string
  default     = "muster-proving"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", var.proving_pool)) && !contains(["all", "default"], var.proving_pool)
    error_message = "A pool of its own: neither all nor default."
  }
}

variable "fleet_pools" {
  description = "The pools that the fleets' nodes work in: `nomad.node_pool` of the agents' configuration. `default` is Nomad's own."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.fleet_pools : can(regex("^[A-Za-z0-9_-]{1,128}$", name)) && !contains(["all", "default"], name)])
    error_message = "Name pools of your own: neither all nor default."
  }
}
