# What tests/terraform-real applies to moto: both kinds of fleets, their roles, the queue and the parameters. The alarms are
# planned and not applied: the provider speaks CBOR to CloudWatch, and moto does not.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "endpoint" {
  description = "Where moto is."
  type        = string
}

variable "image_id" {
  description = "An AMI of moto's."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of moto's default VPC."
  type        = list(string)
}

variable "security_group_ids" {
  description = "A security group of moto's default VPC."
  type        = list(string)
}

variable "alarms" {
  description = "Whether the alarms are part of it."
  type        = bool
  default     = false
}

variable "capacity" {
  description = "As modules/fleet takes it."
  type = object({
    min     = optional(number, 1)
    max     = optional(number, 20)
    initial = optional(number)
  })
  default = {}
}

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = "true"
  skip_requesting_account_id  = false

  endpoints {
    cloudwatch = var.endpoint
    ec2        = var.endpoint
    events     = var.endpoint
    iam        = var.endpoint
    sqs        = var.endpoint
    ssm        = var.endpoint
    sts        = var.endpoint
  }
}

locals {
  fleets = { web = "spot_fleet", batch = "ec2_fleet" }
}

module "notices" {
  source = "../../../../fleet/terraform/modules/notices"
}

module "iam" {
  source = "../../../../fleet/terraform/modules/iam"

  fleets           = keys(local.fleets)
  parameter_paths  = [for name in keys(local.fleets) : "/muster/${name}"]
  queue_arns       = [module.notices.queue_arn]
  ready_tag        = "muster:state"
  consul_auto_join = true
  nomad_oidc       = { issuer = "https://nomad.example.com" }
}

module "fleet" {
  source   = "../../../../fleet/terraform/modules/fleet"
  for_each = local.fleets

  name                 = each.key
  backend              = each.value
  instance_types       = { "m5.large" = 1, "c5.xlarge" = 2 }
  subnet_ids           = var.subnet_ids
  security_group_ids   = var.security_group_ids
  image_id             = var.image_id
  instance_profile_arn = module.iam.node_instance_profile_arn
  fleet_role_arn       = module.iam.fleet_role_arn
  capacity             = var.capacity
  drain_by             = "nobody"
}

module "parameters" {
  source   = "../../../../fleet/terraform/modules/parameters"
  for_each = local.fleets

  fleet           = each.key
  path            = module.fleet[each.key].configuration_path
  policies        = { (each.key) = module.fleet[each.key].policy }
  awx_key         = "k3y"
  awx_key_version = 1
}

module "alarms" {
  source = "../../../../fleet/terraform/modules/alarms"
  count  = var.alarms ? 1 : 0

  queue_name             = module.notices.queue_name
  dead_letter_queue_name = module.notices.dead_letter_queue_name
  rule_names             = module.notices.rule_names
  spot_fleets            = { web = { id = module.fleet["web"].id, max = 20 } }
}

output "policies" {
  value = { for name, fleet in module.fleet : name => fleet.policy }
}

output "queue_url" {
  value = module.notices.queue_url
}
