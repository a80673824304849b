/**
 * # fleet
 *
 * A diversified fleet of spot instances that muster-autoscaler holds at its target: a Spot Fleet, or an EC2 Fleet of type
 * `maintain`, with its launch template and the policy that goes with it.
 *
 * * **Terraform makes the fleet, the autoscaler sizes it.** Target capacities, the excess-capacity policy and the launch
 *   template of the fleet are ignored after it was made (`ignore_changes`): a plan never takes back what the autoscaler
 *   did. A new `image_id` makes a new version of the launch template and touches no instance; `muster-autoscaler rollout`
 *   brings it to the fleet.
 * * **What cannot be changed in place makes a new fleet**: instance types, subnets, the allocation strategy, `valid_until`.
 *   Instance types and subnets are part of what is ignored, so a change of them alone does nothing: use
 *   `terraform apply -replace=...` when you mean it, or a second fleet beside the first.
 * * **Nothing is ended by AWS's choice.** The fleet is made with `NoTermination`, replaces nothing for health, and does
 *   not rebalance by itself: an instance leaves when the autoscaler has drained it, or when it is interrupted.
 * * **No expiry.** A request without an end date may get one by tools that have a default of a day; this one says its
 *   own, far away, and a plan warns when it comes near.
 */

locals {
  configuration_path = coalesce(var.configuration_path, "/muster/${var.name}")

  spot_fleet = var.backend == "spot_fleet"

  # EC2 Fleet has words of its own for the same strategies.
  ec2_fleet_strategies = {
    priceCapacityOptimized = "price-capacity-optimized"
    capacityOptimized      = "capacity-optimized"
    diversified            = "diversified"
    lowestPrice            = "lowest-price"
  }

  # One line of the shopping list for each type in each subnet.
  overrides = [
    for pair in setproduct(sort(keys(var.instance_types)), var.subnet_ids) : {
      instance_type = pair[0]
      subnet_id     = pair[1]
      weight        = var.instance_types[pair[0]]
    }
  ]

  # Only made once and ignored from then on.
  initial_capacity = coalesce(var.capacity.initial, max(var.capacity.min, var.on_demand_capacity))

  # By these the roles of modules/iam know the fleet's instances.
  tags = merge(var.tags, { Name = var.name, "muster:fleet" = var.name })

  fleet_id = one(concat(aws_spot_fleet_request.this[*].id, aws_ec2_fleet.this[*].id))
}

data "aws_region" "current" {}

data "aws_subnet" "this" {
  count = length(var.subnet_ids)

  id = var.subnet_ids[count.index]
}

resource "aws_launch_template" "this" {
  name        = var.name
  description = "Nodes of the fleet ${var.name}"
  image_id    = var.image_id

  # A node whose step is to end it powers off, and is gone.
  instance_initiated_shutdown_behavior = "terminate"
  vpc_security_group_ids               = var.security_group_ids

  # No more than where the agent's configuration is: user data is readable by whoever is on the node.
  user_data = base64encode(templatefile("${path.module}/user-data.yaml.tftpl", {
    configuration_path = local.configuration_path
  }))

  iam_instance_profile {
    arn = var.instance_profile_arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = var.metadata_hop_limit
    # The agent reads its tags there, without a right of its own.
    instance_metadata_tags = "enabled"
  }

  # Points of a minute: without, CloudWatch's are five minutes apart, and the autoscaler's eyes with them.
  monitoring {
    enabled = true
  }

  block_device_mappings {
    device_name = var.root_volume.device_name

    ebs {
      delete_on_termination = true
      encrypted             = true
      kms_key_id            = var.root_volume.kms_key_arn
      volume_size           = var.root_volume.size_gib
      volume_type           = "gp3"
    }
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "volume"]

    content {
      resource_type = tag_specifications.value
      tags          = local.tags
    }
  }

  tags = local.tags
}

resource "aws_spot_fleet_request" "this" {
  count = local.spot_fleet ? 1 : 0

  fleet_type                          = "maintain"
  iam_fleet_role                      = var.fleet_role_arn
  allocation_strategy                 = var.allocation_strategy
  target_capacity                     = local.initial_capacity
  on_demand_target_capacity           = var.on_demand_capacity
  excess_capacity_termination_policy  = "NoTermination"
  instance_interruption_behaviour     = "terminate"
  replace_unhealthy_instances         = false
  terminate_instances_on_delete       = tostring(var.terminate_on_destroy)
  terminate_instances_with_expiration = false
  valid_until                         = var.valid_until
  wait_for_fulfillment                = false
  tags                                = local.tags

  launch_template_config {
    launch_template_specification {
      id = aws_launch_template.this.id
      # A number: a fleet that follows $Default or $Latest changes under the autoscaler's hands.
      version = tostring(aws_launch_template.this.latest_version)
    }

    dynamic "overrides" {
      for_each = local.overrides

      content {
        instance_type     = overrides.value.instance_type
        subnet_id         = overrides.value.subnet_id
        weighted_capacity = overrides.value.weight
      }
    }
  }

  lifecycle {
    # The autoscaler's: what the fleet is to have, what becomes of excess, and which image it launches.
    ignore_changes = [
      target_capacity,
      on_demand_target_capacity,
      excess_capacity_termination_policy,
      launch_template_config,
    ]

    precondition {
      condition     = length(distinct(data.aws_subnet.this[*].availability_zone)) >= 2
      error_message = "The subnets lie in one availability zone: what takes the zone takes the fleet. Name subnets of two zones at least."
    }
  }
}

resource "aws_ec2_fleet" "this" {
  count = local.spot_fleet ? 0 : 1

  type                                = "maintain"
  excess_capacity_termination_policy  = "no-termination"
  replace_unhealthy_instances         = false
  terminate_instances                 = var.terminate_on_destroy
  terminate_instances_with_expiration = false
  valid_until                         = var.valid_until
  tags                                = local.tags

  target_capacity_specification {
    default_target_capacity_type = "spot"
    total_target_capacity        = local.initial_capacity
    on_demand_target_capacity    = var.on_demand_capacity
    spot_target_capacity         = local.initial_capacity - var.on_demand_capacity
  }

  spot_options {
    allocation_strategy            = local.ec2_fleet_strategies[var.allocation_strategy]
    instance_interruption_behavior = "terminate"
  }

  launch_template_config {
    launch_template_specification {
      launch_template_id = aws_launch_template.this.id
      version            = tostring(aws_launch_template.this.latest_version)
    }

    dynamic "override" {
      for_each = local.overrides

      content {
        instance_type     = override.value.instance_type
        subnet_id         = override.value.subnet_id
        weighted_capacity = override.value.weight
      }
    }
  }

  lifecycle {
    ignore_changes = [
      target_capacity_specification,
      excess_capacity_termination_policy,
      launch_template_config,
      # What the provider does not send, or EC2 does not give back, as it is written here: each of these differences would
      # be a new fleet.
      terminate_instances_with_expiration,
      valid_from,
      on_demand_options,
      spot_options[0].instance_pools_to_use_count,
    ]

    precondition {
      condition     = length(distinct(data.aws_subnet.this[*].availability_zone)) >= 2
      error_message = "The subnets lie in one availability zone: what takes the zone takes the fleet. Name subnets of two zones at least."
    }
  }
}

check "expiry" {
  assert {
    condition     = timecmp(var.valid_until, timeadd(plantimestamp(), "2160h")) > 0
    error_message = "The request of fleet ${var.name} ends at ${var.valid_until}, within 90 days. From then on nothing is launched; a later date makes a new fleet."
  }
}
