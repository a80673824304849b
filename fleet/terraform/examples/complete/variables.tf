variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
  nullable    = false
}

variable "vpc_id" {
  description = "The VPC of the nodes."
  type        = string
  nullable    = false
}

variable "vpc_cidr" {
  description = "The VPC's addresses, where Consul, Nomad and AWX are."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Subnets of two zones at least."
  type        = list(string)
  nullable    = false
}

variable "image_id" {
  description = "The AMI of the nodes: `muster-image publish` says which."
  type        = string
  nullable    = false
}

variable "nomad_address" {
  description = "Nomad's servers, as Consul and Vault reach them: https://nomad.example.com:4646."
  type        = string
  nullable    = false
}

variable "nomad_oidc_issuer" {
  description = "Nomad's `oidc_issuer`, as AWS reaches it."
  type        = string
  nullable    = false
}

variable "vault_server_id" {
  description = "What binds a node's login to this Vault: vault.example.com."
  type        = string
  nullable    = false
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
}

variable "pipeline_role_arns" {
  description = "The roles of the machines that bake images and publish them (image/jenkins). Empty: nobody may."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "alarm_actions" {
  description = "Whom alarms are sent to: ARNs of SNS topics."
  type        = list(string)
  default     = []
  nullable    = false
}
