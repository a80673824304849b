variable "fleet" {
  description = "The fleet's name, as its policy has it: what its agents tell the autoscaler."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_-]{2,63}$", var.fleet))
    error_message = "A name has 3 to 64 letters, digits, - and _, and begins with a letter."
  }
}

variable "path" {
  description = "The path of the agents' configuration: `configuration_path` of modules/fleet."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^(/[A-Za-z0-9_.-]+)+$", var.path)) && !can(regex("^/(aws|ssm)", lower(var.path)))
    error_message = "A path looks like /muster/web, without a slash at its end, and does not begin with AWS's own names."
  }
}

variable "fragments" {
  description = "Fragments of the agents' configuration as HCL, by name; read in the order of their names. Each of at most 8 KB."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, text in var.fragments : can(regex("^[A-Za-z0-9_.-]+$", name)) && name != "awx-key" && length(text) > 0 && length(text) <= 8192])
    error_message = "A fragment has a name of letters, digits, -, _ and ., and from 1 to 8192 bytes."
  }
}

variable "autoscaler_service" {
  description = "The service in Consul whose healthy instances the agents tell of load and notices."
  type        = string
  default     = "muster-autoscaler"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.autoscaler_service))
    error_message = "A service has lower-case letters, digits and -."
  }
}

variable "autoscaler_addresses" {
  description = "Where the autoscaler is, in place of `autoscaler_service`."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.autoscaler_addresses : can(regex("^https?://", address))])
    error_message = "An address begins with https:// (or http:// in a lab)."
  }
}

variable "awx_key" {
  description = "The host config key of AWX's job template. Kept nowhere but in Parameter Store."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "awx_key_version" {
  description = "Counts the keys: raised by one, the key that is given then is written. 0: there is none."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.awx_key_version >= 0 && floor(var.awx_key_version) == var.awx_key_version
    error_message = "The version is a whole number."
  }

  validation {
    condition     = var.awx_key_version == 0 || var.awx_key != null
    error_message = "A key that has a version is given with every run, as awx_key: Terraform keeps none."
  }
}

variable "kms_key_arn" {
  description = "A KMS key of your own for AWX's key. Null: the account's own for Parameter Store."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "A key is the ARN of a KMS key, not of an alias."
  }
}

variable "policies" {
  description = "Policies of muster-autoscaler by fleet: `{ web = module.fleet.policy }`. None: they are kept elsewhere."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.policies) : can(regex("^[A-Za-z][A-Za-z0-9_-]{2,63}$", name))])
    error_message = "A policy is named after its fleet."
  }
}

variable "policy_path" {
  description = "Where the policies of all fleets are."
  type        = string
  default     = "/muster-autoscaler/policies"
  nullable    = false

  validation {
    condition     = can(regex("^(/[A-Za-z0-9_.-]+)+$", var.policy_path))
    error_message = "A path looks like /muster-autoscaler/policies, without a slash at its end."
  }
}

variable "tags" {
  description = "Tags of the parameters."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : length(key) >= 1 && length(key) <= 128 && !startswith(key, "aws:")])
    error_message = "A tag has a key of up to 128 characters; those that begin with aws: are not yours to give."
  }
}
