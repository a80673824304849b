/**
 * # minimal
 *
 * One Spot Fleet that muster-autoscaler holds from a machine of your own: roles, the fleet, its policy. No queue, no Nomad,
 * no Vault: interruptions are heard of by asking EC2 (`interruption.poll`), and nobody drains.
 */

terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }
}

provider "aws" {
  region = var.region
}

module "iam" {
  source = "../../modules/iam"

  name                         = var.name
  fleets                       = [var.name]
  parameter_paths              = ["/muster/${var.name}"]
  autoscaler_trusted_role_arns = var.operators
}

module "fleet" {
  source = "../../modules/fleet"

  name                 = var.name
  instance_types       = { "m6i.large" = 1, "m6a.large" = 1, "c6i.large" = 1 }
  subnet_ids           = var.subnet_ids
  security_group_ids   = var.security_group_ids
  image_id             = var.image_id
  instance_profile_arn = module.iam.node_instance_profile_arn
  fleet_role_arn       = module.iam.fleet_role_arn
  drain_by             = "nobody"

  policy_blocks = <<-HCL
    interruption {
      poll = "30s"
    }
  HCL
}
