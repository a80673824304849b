variable "node_name" {
  description = "The name of what nodes have here: their policy, and their roles in AWS's auth method and the secrets engines."
  type        = string
  default     = "muster-node"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9_-]{1,64}$", var.node_name))
    error_message = "A name has lower-case letters, digits, - and _."
  }
}

variable "aws_login" {
  description = "The login of nodes by AWS IAM: where it is mounted, the roles that nodes have (`node_role_arn` of modules/iam), the server id that binds a login to this Vault, and Vault's STS where it is not the global one. Null: nodes log in otherwise."
  type = object({
    mount              = optional(string, "aws")
    node_role_arns     = list(string)
    server_id          = string
    sts_endpoint       = optional(string)
    sts_region         = optional(string)
    resolve_unique_ids = optional(bool, true)
  })
  default = null

  validation {
    condition     = var.aws_login == null || try(length(var.aws_login.node_role_arns) >= 1 && alltrue([for arn in var.aws_login.node_role_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[^*]+$", arn))]), false)
    error_message = "Name the ARNs of single roles."
  }

  validation {
    condition     = var.aws_login == null || try(length(var.aws_login.server_id) >= 1, false)
    error_message = "The server id is such as vault.example.com."
  }

  validation {
    condition     = var.aws_login == null || try((var.aws_login.sts_endpoint == null) == (var.aws_login.sts_region == null), false)
    error_message = "An STS endpoint has its region, and the other way round."
  }
}

variable "secrets" {
  description = "What nodes may read, as paths of the API: `kv/data/node/*`, `database/creds/node`."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for path in var.secrets : can(regex("^[a-z0-9][A-Za-z0-9_./+-]*\\*?$", path)) && !startswith(path, "sys/") && !startswith(path, "auth/")])
    error_message = "A path is such as kv/data/node/*, and none of sys/ or auth/."
  }
}

variable "pki_roles" {
  description = "What nodes may have certificates of: `pki/issue/node`."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for path in var.pki_roles : can(regex("^[A-Za-z0-9_/-]+/issue/[A-Za-z0-9_.-]+$", path))])
    error_message = "A role is such as pki/issue/node."
  }
}

variable "consul_secrets" {
  description = "Consul's secrets engine, which makes the tokens of nodes: where it is mounted, and the policies in Consul (`node_policy`, `client_policy` and `names_policy` of modules/consul; the second one is for Nomad's client of the node, the third for who asks its agent of Consul for names; null: none). Null: they have them otherwise."
  type = object({
    mount         = optional(string, "consul")
    policy        = string
    client_policy = optional(string)
    names_policy  = optional(string)
  })
  default = null

  validation {
    condition     = var.consul_secrets == null || can(regex("^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", var.consul_secrets.mount))
    error_message = "An engine is mounted at a path without a slash at its ends."
  }

  validation {
    condition     = var.consul_secrets == null || try(alltrue([for name in [var.consul_secrets.policy, var.consul_secrets.client_policy, var.consul_secrets.names_policy] : name == null || can(regex("^[A-Za-z0-9_-]{1,128}$", name))]), false)
    error_message = "A policy in Consul has letters, digits, - and _."
  }
}

variable "nomad_secrets" {
  description = "Nomad's secrets engine, which makes the tokens of nodes: where it is mounted, and the policy in Nomad (`node_policy` of modules/nomad). Null: they have them otherwise."
  type = object({
    mount  = optional(string, "nomad")
    policy = string
  })
  default = null

  validation {
    condition     = var.nomad_secrets == null || can(regex("^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", var.nomad_secrets.mount))
    error_message = "An engine is mounted at a path without a slash at its ends."
  }

  validation {
    condition     = var.nomad_secrets == null || can(regex("^[A-Za-z0-9-]{1,128}$", var.nomad_secrets.policy))
    error_message = "A policy in Nomad has letters, digits and -."
  }
}

variable "nomad_login" {
  description = "The login of Nomad's jobs: where it is mounted, Nomad's keys as Vault reaches them (`https://nomad.example.com:4646/.well-known/jwks.json`), who signed that server's certificate (PEM), and the kv engine (version 2) whose secrets jobs have. Null: it is not made here."
  type = object({
    mount          = optional(string, "jwt-nomad")
    jwks_url       = string
    jwks_ca_pem    = optional(string)
    workload_mount = optional(string, "kv")
  })
  default = null

  validation {
    condition     = var.nomad_login == null || can(regex("^https?://.+/\\.well-known/jwks\\.json$", var.nomad_login.jwks_url))
    error_message = "Nomad's keys are at an address such as https://nomad.example.com:4646/.well-known/jwks.json."
  }
}

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

variable "autoscaler_pki_role" {
  description = "What the autoscaler has its certificate of, as the job's `tls_role` has it: `pki/issue/muster`. Null: it is served without TLS, in labs."
  type        = string
  default     = null

  validation {
    condition     = var.autoscaler_pki_role == null || can(regex("^[A-Za-z0-9_/-]+/issue/[A-Za-z0-9_.-]+$", var.autoscaler_pki_role))
    error_message = "A role is such as pki/issue/muster."
  }
}
