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

variable "auth_method" {
  description = "The auth method that trusts Nomad: its name, Nomad's keys as Consul's servers reach them (`https://nomad.example.com:4646/.well-known/jwks.json`), who signed that server's certificate (PEM), how long a token may live. `create = false`: it is there already."
  type = object({
    create        = optional(bool, true)
    name          = optional(string, "nomad-workloads")
    jwks_url      = optional(string)
    jwks_ca_cert  = optional(string)
    max_token_ttl = optional(string, "0s")
  })
  nullable = false

  validation {
    condition     = !var.auth_method.create || can(regex("^https?://.+/\\.well-known/jwks\\.json$", var.auth_method.jwks_url))
    error_message = "Nomad's keys are at an address such as https://nomad.example.com:4646/.well-known/jwks.json."
  }

  validation {
    condition     = can(regex("^[A-Za-z0-9-]{1,128}$", var.auth_method.name))
    error_message = "A name has letters, digits and -."
  }
}

variable "key_prefix" {
  description = "Where the lock, the ledgers and the places of the autoscalers are: `--consul-prefix`."
  type        = string
  default     = "muster-autoscaler"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", var.key_prefix))
    error_message = "A prefix has no slash at its ends."
  }
}

variable "autoscaler_node_prefixes" {
  description = "What the names begin with of the nodes that the autoscaler runs on: its sessions are theirs. `[\"\"]`: any."
  type        = list(string)
  default     = [""]
  nullable    = false

  validation {
    condition     = length(var.autoscaler_node_prefixes) >= 1 && alltrue([for prefix in var.autoscaler_node_prefixes : can(regex("^[A-Za-z0-9_.-]*$", prefix))])
    error_message = "Name one prefix at least, of letters, digits, -, _ and .."
  }
}

variable "node_policy_name" {
  description = "The policy of the nodes' tokens, for modules/vault's `consul_secrets`."
  type        = string
  default     = "muster-node"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", var.node_policy_name))
    error_message = "A name has letters, digits, - and _."
  }
}

variable "client_policy_name" {
  description = "The policy of Nomad's clients on the nodes, for modules/vault's `consul_secrets`."
  type        = string
  default     = "muster-client"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", var.client_policy_name))
    error_message = "A name has letters, digits, - and _."
  }
}

variable "names_policy_name" {
  description = "The policy of who asks the nodes' agents of Consul for names."
  type        = string
  default     = "muster-names"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", var.names_policy_name))
    error_message = "A name has letters, digits, - and _."
  }
}

variable "node_prefix" {
  description = "What the names of the fleets' nodes begin with, which are their instances' ids. Null: no policy for nodes."
  type        = string
  default     = "i-"

  validation {
    condition     = var.node_prefix == null || can(regex("^[A-Za-z0-9_.-]+$", var.node_prefix))
    error_message = "A prefix has letters, digits, -, _ and ., and is not empty: that would be every node."
  }
}
