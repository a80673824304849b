# A fleet as it is after a roll-out: the autoscaler has told it of another version of the launch template, and sized it; what becomes
# of excess is the autoscaler's, too, and here not what the module begins with. What the
# module makes of that state, which it comes to by the name of the resource, is the test's.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "backend" {
  description = "As the module takes it."
  type        = string
}

resource "aws_spot_fleet_request" "this" {
  count = var.backend == "spot_fleet" ? 1 : 0

  iam_fleet_role                     = "arn:aws:iam::123456789012:role/muster-fleet"
  target_capacity                    = 11
  on_demand_target_capacity          = 2
  excess_capacity_termination_policy = "Default"

  launch_template_config {
    launch_template_specification {
      id      = "lt-0123456789abcdef0"
      version = "8"
    }

    overrides {
      instance_type     = "m6i.large"
      subnet_id         = "subnet-a"
      weighted_capacity = 1
    }
  }
}

resource "aws_ec2_fleet" "this" {
  count = var.backend == "ec2_fleet" ? 1 : 0

  type                               = "maintain"
  excess_capacity_termination_policy = "termination"

  target_capacity_specification {
    default_target_capacity_type = "spot"
    total_target_capacity        = 11
    on_demand_target_capacity    = 2
    spot_target_capacity         = 9
  }

  launch_template_config {
    launch_template_specification {
      launch_template_id = "lt-0123456789abcdef0"
      version            = "8"
    }

    override {
      instance_type     = "m6i.large"
      subnet_id         = "subnet-a"
      weighted_capacity = 1
    }
  }
}
