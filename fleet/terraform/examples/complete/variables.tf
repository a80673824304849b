variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region is such as eu-west-1."
  }
}

variable "vpc_id" {
  description = "The VPC of the nodes."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "A VPC is its id."
  }
}

variable "vpc_cidr" {
  description = "The VPC's addresses, where Consul, Nomad and AWX are."
  type        = string
  nullable    = false

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr))
    error_message = "The addresses are such as 10.0.0.0/16."
  }
}

variable "subnet_ids" {
  description = "Subnets of two zones at least."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 2 && alltrue([for id in var.subnet_ids : startswith(id, "subnet-")])
    error_message = "Name two subnets at least, by their ids."
  }
}

variable "image_id" {
  description = "The AMI of the nodes: `muster-image publish` says which."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^ami-([0-9a-f]{8}|[0-9a-f]{17})$", var.image_id))
    error_message = "An image is an AMI's id."
  }
}

variable "consul_join" {
  description = "Whom the nodes' Consul agents join, as `retry_join` takes them: addresses, or such as `provider=aws tag_key=consul tag_value=server`."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.consul_join) > 0 && alltrue([for at in var.consul_join : at != "" && at == trimspace(at)])
    error_message = "Name one server at least: its address, or how the cloud is asked for it."
  }
}

variable "nomad_address" {
  description = "Nomad's servers, as Consul and Vault reach them: https://nomad.example.com:4646."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https?://[^/]+$", var.nomad_address))
    error_message = "An address is such as https://nomad.example.com:4646, without a slash at its end."
  }
}

variable "nomad_oidc_issuer" {
  description = "Nomad's `oidc_issuer`, as AWS reaches it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[^/]+(/.*[^/])?$", var.nomad_oidc_issuer))
    error_message = "The issuer is an https:// address without a slash at its end."
  }
}

variable "vault_address" {
  description = "Vault, as the nodes' clients of Nomad reach it: https://vault.example.com:8200."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https?://[^/]+$", var.vault_address))
    error_message = "An address is such as https://vault.example.com:8200, without a slash at its end."
  }
}

variable "vault_server_id" {
  description = "What binds a node's login to this Vault: vault.example.com."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9.-]+$", var.vault_server_id))
    error_message = "The server id is such as vault.example.com."
  }
}

variable "awx_key" {
  description = "The host config key of AWX's job template."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "awx_key_version" {
  description = "Raised by one with each new key; 0: there is no AWX."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.awx_key_version >= 0 && floor(var.awx_key_version) == var.awx_key_version
    error_message = "The version is a whole number."
  }
}

variable "pipeline_role_arns" {
  description = "The roles of the machines that bake images and publish them (image/jenkins). Empty: nobody may."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.pipeline_role_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[^*]+$", arn))])
    error_message = "Name the ARNs of single roles."
  }
}

variable "alarm_actions" {
  description = "Whom alarms are sent to: ARNs of SNS topics."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_actions : startswith(arn, "arn:")])
    error_message = "An action is an ARN."
  }
}
