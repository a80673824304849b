variable "name" {
  description = "What the roles' names begin with."
  type        = string
  default     = "muster"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_-]{1,47}$", var.name))
    error_message = "A name has 2 to 48 letters, digits, - and _, and begins with a letter."
  }
}

variable "fleets" {
  description = "The names of the fleets, as modules/fleet has them."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.fleets) >= 1 && alltrue([for name in var.fleets : can(regex("^[A-Za-z][A-Za-z0-9_-]{2,63}$", name))])
    error_message = "Name one fleet at least; a name has 3 to 64 letters, digits, - and _, and begins with a letter."
  }
}

variable "parameter_paths" {
  description = "The paths in Parameter Store that the nodes read beneath."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.parameter_paths) >= 1 && alltrue([for path in var.parameter_paths : can(regex("^(/[A-Za-z0-9_.-]+)+$", path))])
    error_message = "A path looks like /muster/web, without a slash at its end."
  }
}

variable "parameter_key_arns" {
  description = "KMS keys of your own that SecureStrings of these paths are encrypted by."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.parameter_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", arn))])
    error_message = "A key is the ARN of a KMS key, not of an alias."
  }
}

variable "queue_arns" {
  description = "The queues that the autoscaler reads: `queue_arn` of modules/notices."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.queue_arns : can(regex("^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[^*]+$", arn))])
    error_message = "A queue is the ARN of one SQS queue."
  }
}

variable "queue_key_arns" {
  description = "KMS keys of your own that these queues are encrypted by."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.queue_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", arn))])
    error_message = "A key is the ARN of a KMS key, not of an alias."
  }
}

variable "ready_tag" {
  description = "The tag that a node may give instances of its fleet, as `ready.tag` of the agent's configuration names it; null where none is given."
  type        = string
  default     = null

  validation {
    condition     = var.ready_tag == null || (!startswith(coalesce(var.ready_tag, "x"), "aws:") && var.ready_tag != "muster:fleet")
    error_message = "A node may not give tags of AWS's, nor the one that says which fleet it is of."
  }
}

variable "consul_auto_join" {
  description = "Whether the nodes' Consul agents find their servers by EC2 tags (`retry_join` with `provider=aws`)."
  type        = bool
  default     = false
  nullable    = false
}

variable "rollout" {
  description = "Whether the autoscaler may bring a new launch template to its fleets: EC2 asks for the rights to launch with it."
  type        = bool
  default     = true
  nullable    = false
}

variable "nomad_oidc" {
  description = "Nomad as an OpenID Connect provider: its `oidc_issuer` (HTTPS, reached by AWS), the job's subject, and the ARN of the provider where the account has it already. Null: the job has no role of its own."
  type = object({
    issuer       = string
    subject      = optional(string, "global:default:muster-autoscaler:*")
    provider_arn = optional(string)
  })
  default = null

  validation {
    condition     = var.nomad_oidc == null || can(regex("^https://[^/]+(/.*[^/])?$", var.nomad_oidc.issuer))
    error_message = "The issuer is an https:// address without a slash at its end."
  }

  validation {
    condition     = var.nomad_oidc == null || can(regex("^[^*?:]+:[^*?:]+:[^*?:]+:", var.nomad_oidc.subject))
    error_message = "The subject is REGION:NAMESPACE:JOB:..., and names one job: no wildcard in the first three."
  }

  validation {
    condition     = try(var.nomad_oidc.provider_arn, null) == null || try(can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/", var.nomad_oidc.provider_arn)) && endswith(var.nomad_oidc.provider_arn, ":oidc-provider/${trimprefix(var.nomad_oidc.issuer, "https://")}"), false)
    error_message = "The provider is the ARN of the issuer's: arn:aws:iam::123456789012:oidc-provider/nomad.example.com."
  }
}

variable "autoscaler_trusted_role_arns" {
  description = "Roles that may become the autoscaler's instead of, or besides, the Nomad job: for a machine of your own."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.autoscaler_trusted_role_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[^*]+$", arn))])
    error_message = "Name the ARNs of single roles."
  }
}

variable "image_builder" {
  description = "Who may bake images: the roles that may become the builder's, and the role and the instance profile of the machines that are baked, where they have one; whether Packer reaches these machines by the session manager (`ssh_interface=session_manager`); KMS keys of your own that images are encrypted with (`kms_key` of Packer's templates); and the path of the channels in Parameter Store, without a slash at its end. Null: nobody."
  type = object({
    trusted_role_arns    = list(string)
    machine_role_arns    = optional(list(string), [])
    machine_profile_arns = optional(list(string), [])
    session_manager      = optional(bool, false)
    image_key_arns       = optional(list(string), [])
    channels             = optional(string, "/muster/images")
  })
  default = null

  validation {
    condition     = var.image_builder == null || try(length(var.image_builder.trusted_role_arns) >= 1 && alltrue([for arn in concat(var.image_builder.trusted_role_arns, var.image_builder.machine_role_arns) : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[^*]+$", arn))]), false)
    error_message = "Name the ARNs of single roles."
  }

  validation {
    condition     = can(regex("^(/[A-Za-z0-9_.-]+)+$", var.image_builder.channels)) || var.image_builder == null
    error_message = "channels: a path such as /muster/images."
  }

  validation {
    condition     = alltrue([for arn in try(var.image_builder.machine_profile_arns, []) : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:instance-profile/[^*]+$", arn))])
    error_message = "Name the ARNs of single instance profiles."
  }

  validation {
    condition     = alltrue([for arn in try(var.image_builder.image_key_arns, []) : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", arn))])
    error_message = "A key is the ARN of a KMS key, not of an alias."
  }
}

variable "tags" {
  description = "Tags of the roles and the instance profile."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : length(key) >= 1 && length(key) <= 128 && !startswith(key, "aws:")])
    error_message = "A tag has a key of up to 128 characters; those that begin with aws: are not yours to give."
  }
}
