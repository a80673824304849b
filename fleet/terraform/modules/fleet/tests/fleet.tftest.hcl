mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }

  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", latest_version = 7 }
  }

  mock_resource "aws_spot_fleet_request" {
    defaults = { id = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5" }
  }

  mock_resource "aws_ec2_fleet" {
    defaults = { id = "fleet-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5" }
  }
}

# A mock makes up another zone for each subnet.
variables {
  name                 = "web"
  instance_types       = { "m6i.large" = 1, "c6a.xlarge" = 2 }
  subnet_ids           = ["subnet-a", "subnet-b"]
  security_group_ids   = ["sg-nodes"]
  image_id             = "ami-0123456789abcdef0"
  instance_profile_arn = "arn:aws:iam::123456789012:instance-profile/muster-node"
  fleet_role_arn       = "arn:aws:iam::123456789012:role/muster-fleet"
}

run "the_launch_template_is_hardened" {
  assert {
    condition     = aws_launch_template.this.metadata_options[0].http_tokens == "required" && aws_launch_template.this.metadata_options[0].http_put_response_hop_limit == 1 && aws_launch_template.this.metadata_options[0].instance_metadata_tags == "enabled"
    error_message = "IMDSv2 alone, one hop, and tags for the agent."
  }

  assert {
    condition     = tobool(aws_launch_template.this.block_device_mappings[0].ebs[0].encrypted)
    error_message = "The root volume is encrypted."
  }

  assert {
    condition     = aws_launch_template.this.monitoring[0].enabled
    error_message = "Detailed monitoring: points of a minute."
  }

  assert {
    condition     = aws_launch_template.this.instance_initiated_shutdown_behavior == "terminate"
    error_message = "A node that powers itself off is gone."
  }

  assert {
    condition     = base64decode(aws_launch_template.this.user_data) == <<-YAML
      #cloud-config
      write_files:
        - path: /etc/muster/conf.d/50-fleet.hcl
          permissions: "0644"
          content: |
            parameters {
              path = "/muster/web"
            }
    YAML
    error_message = "User data says where the configuration is, and nothing else."
  }

  assert {
    condition     = [for spec in aws_launch_template.this.tag_specifications : spec.resource_type if spec.tags["muster:fleet"] == "web"] == ["instance", "volume"]
    error_message = "Instances and volumes carry the fleet's name."
  }
}

run "a_spot_fleet_is_the_default" {
  assert {
    condition     = length(aws_spot_fleet_request.this) == 1 && length(aws_ec2_fleet.this) == 0
    error_message = "One Spot Fleet, no EC2 Fleet."
  }

  assert {
    condition     = aws_spot_fleet_request.this[0].fleet_type == "maintain" && aws_spot_fleet_request.this[0].allocation_strategy == "priceCapacityOptimized" && aws_spot_fleet_request.this[0].excess_capacity_termination_policy == "NoTermination"
    error_message = "Maintained, by price and capacity, and nothing ended by AWS's choice."
  }

  assert {
    condition     = aws_spot_fleet_request.this[0].target_capacity == 1 && aws_spot_fleet_request.this[0].on_demand_target_capacity == 0
    error_message = "It is made with the least that it may have."
  }

  assert {
    condition     = !aws_spot_fleet_request.this[0].replace_unhealthy_instances && length(aws_spot_fleet_request.this[0].spot_maintenance_strategies) == 0
    error_message = "AWS neither replaces for health nor rebalances by itself."
  }

  assert {
    condition     = aws_spot_fleet_request.this[0].valid_until == "2099-12-31T00:00:00Z" && !aws_spot_fleet_request.this[0].terminate_instances_with_expiration
    error_message = "It does not expire."
  }

  assert {
    condition = toset([for line in one(aws_spot_fleet_request.this[0].launch_template_config).overrides : "${line.instance_type} ${line.subnet_id} ${line.weighted_capacity}"]) == toset([
      "c6a.xlarge subnet-a 2", "c6a.xlarge subnet-b 2", "m6i.large subnet-a 1", "m6i.large subnet-b 1",
    ])
    error_message = "Each type in each subnet, with its weight."
  }

  assert {
    condition     = one(aws_spot_fleet_request.this[0].launch_template_config).launch_template_specification[0].version == "7"
    error_message = "The launch template's version is a number."
  }

  assert {
    condition     = output.policy == <<-HCL
      fleet "web" {
        id     = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
        region = "eu-west-1"

        capacity {
          min   = 1
          max   = 20
          surge = 2
        }

        target {
          cpu = "75%"
        }

        diversification {
          families = 2
        }

        drain {
          by = "nomad"
        }
      }
    HCL
    error_message = "The policy says what the fleet is made with."
  }
}

# In the state that the run before has left: what the autoscaler owns stays as it is, whatever the variables say.
run "what_the_autoscaler_owns_is_left_alone" {
  variables {
    capacity           = { min = 5, max = 30, initial = 9 }
    on_demand_capacity = 3
    instance_types     = { "m6i.large" = 1, "c6a.xlarge" = 2, "r6i.large" = 1 }
    image_id           = "ami-0fedcba9876543210"
  }

  assert {
    condition     = aws_spot_fleet_request.this[0].target_capacity == 1 && aws_spot_fleet_request.this[0].on_demand_target_capacity == 0
    error_message = "Target capacities are the autoscaler's."
  }

  assert {
    condition     = length(one(aws_spot_fleet_request.this[0].launch_template_config).overrides) == 4
    error_message = "The launch template of the fleet is the autoscaler's."
  }

  assert {
    condition     = aws_launch_template.this.image_id == "ami-0fedcba9876543210"
    error_message = "A new image makes a new version of the launch template."
  }

  assert {
    condition     = strcontains(output.policy, "min   = 5") && strcontains(output.policy, "max   = 30")
    error_message = "Bounds are the policy's."
  }
}

run "an_ec2_fleet_has_its_own_words" {
  state_key = "ec2_fleet"

  variables {
    backend            = "ec2_fleet"
    fleet_role_arn     = null
    capacity           = { initial = 4 }
    on_demand_capacity = 1
  }

  assert {
    condition     = length(aws_spot_fleet_request.this) == 0 && aws_ec2_fleet.this[0].type == "maintain" && aws_ec2_fleet.this[0].excess_capacity_termination_policy == "no-termination"
    error_message = "One EC2 Fleet that is maintained, and nothing ended by AWS's choice."
  }

  assert {
    condition     = aws_ec2_fleet.this[0].spot_options[0].allocation_strategy == "price-capacity-optimized"
    error_message = "The strategy in EC2 Fleet's words."
  }

  assert {
    condition     = aws_ec2_fleet.this[0].target_capacity_specification[0].total_target_capacity == 4 && aws_ec2_fleet.this[0].target_capacity_specification[0].on_demand_target_capacity == 1 && aws_ec2_fleet.this[0].target_capacity_specification[0].spot_target_capacity == 3
    error_message = "Total, on demand and spot add up."
  }

  assert {
    condition     = aws_ec2_fleet.this[0].valid_until == "2099-12-31T00:00:00Z"
    error_message = "It does not expire."
  }

  assert {
    condition     = strcontains(output.policy, "id     = \"fleet-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5\"")
    error_message = "The policy names it."
  }
}

run "what_the_autoscaler_owns_of_an_ec2_fleet_is_left_alone" {
  state_key = "ec2_fleet"

  variables {
    backend        = "ec2_fleet"
    fleet_role_arn = null
    capacity       = { initial = 8 }
    instance_types = { "m6i.large" = 1, "c6a.xlarge" = 2, "r6i.large" = 1 }
  }

  assert {
    condition     = aws_ec2_fleet.this[0].target_capacity_specification[0].total_target_capacity == 4 && length(aws_ec2_fleet.this[0].launch_template_config[0].override) == 4
    error_message = "Capacities and launch template are the autoscaler's."
  }
}

run "a_spot_fleet_was_rolled_out_and_sized" {
  state_key = "rolled_out_spot_fleet"

  module {
    source = "./tests/rolled-out"
  }

  variables {
    backend = "spot_fleet"
  }
}

run "a_roll_out_of_a_spot_fleet_is_not_taken_back" {
  state_key = "rolled_out_spot_fleet"

  assert {
    condition     = one(aws_spot_fleet_request.this[0].launch_template_config).launch_template_specification[0].version == "8" && length(one(aws_spot_fleet_request.this[0].launch_template_config).overrides) == 1
    error_message = "The version that the autoscaler has rolled out stays, whatever the newest is."
  }

  assert {
    condition     = aws_spot_fleet_request.this[0].target_capacity == 11 && aws_spot_fleet_request.this[0].on_demand_target_capacity == 2
    error_message = "And its size."
  }

  assert {
    condition     = aws_spot_fleet_request.this[0].excess_capacity_termination_policy == "Default"
    error_message = "And what becomes of excess."
  }
}

run "an_ec2_fleet_was_rolled_out_and_sized" {
  state_key = "rolled_out_ec2_fleet"

  module {
    source = "./tests/rolled-out"
  }

  variables {
    backend = "ec2_fleet"
  }
}

run "a_roll_out_of_an_ec2_fleet_is_not_taken_back" {
  state_key = "rolled_out_ec2_fleet"

  variables {
    backend        = "ec2_fleet"
    fleet_role_arn = null
  }

  assert {
    condition     = aws_ec2_fleet.this[0].launch_template_config[0].launch_template_specification[0].version == "8" && length(aws_ec2_fleet.this[0].launch_template_config[0].override) == 1
    error_message = "The version that the autoscaler has rolled out stays, whatever the newest is."
  }

  assert {
    condition     = aws_ec2_fleet.this[0].target_capacity_specification[0].total_target_capacity == 11 && aws_ec2_fleet.this[0].target_capacity_specification[0].on_demand_target_capacity == 2
    error_message = "And its size."
  }

  assert {
    condition     = aws_ec2_fleet.this[0].excess_capacity_termination_policy == "termination"
    error_message = "And what becomes of excess."
  }
}

run "a_high_target_moves_the_objective" {
  command   = apply
  state_key = "objective"

  variables {
    target_cpu    = 85
    policy_blocks = "interruption {\n  poll = \"30s\"\n}\n"
  }

  assert {
    condition     = strcontains(output.policy, "  objective {\n    above = \"90%\"\n  }\n") && strcontains(output.policy, "\n  interruption {\n    poll = \"30s\"\n  }\n}\n")
    error_message = "The level of the objective lies above the target, and blocks of one's own are part of the policy."
  }
}

run "one_family_is_refused" {
  command = plan

  variables {
    instance_types = { "m6i.large" = 1, "m6i.xlarge" = 2 }
  }

  expect_failures = [var.instance_types]
}

run "more_families_may_be_asked_for" {
  command = plan

  variables {
    families = 3
  }

  expect_failures = [var.instance_types]
}

run "one_family_cannot_be_asked_for" {
  command = plan

  variables {
    families = 1
  }

  expect_failures = [var.families]
}

run "half_a_unit_is_refused" {
  command = plan

  variables {
    instance_types = { "m6i.large" = 1.5, "c6a.large" = 1 }
  }

  expect_failures = [var.instance_types]
}

run "one_subnet_is_refused" {
  command = plan

  variables {
    subnet_ids = ["subnet-a"]
  }

  expect_failures = [var.subnet_ids]
}

run "subnets_of_one_zone_are_refused" {
  command   = plan
  state_key = "one_zone"

  override_data {
    target = data.aws_subnet.this
    values = { availability_zone = "eu-west-1a" }
  }

  expect_failures = [aws_spot_fleet_request.this]
}

run "subnets_of_one_zone_are_refused_to_an_ec2_fleet" {
  command   = plan
  state_key = "one_zone_ec2"

  variables {
    backend = "ec2_fleet"
  }

  override_data {
    target = data.aws_subnet.this
    values = { availability_zone = "eu-west-1a" }
  }

  expect_failures = [aws_ec2_fleet.this]
}

run "no_security_group_is_refused" {
  command = plan

  variables {
    security_group_ids = []
  }

  expect_failures = [var.security_group_ids]
}

run "a_spot_fleet_without_a_role_is_refused" {
  command = plan

  variables {
    fleet_role_arn = null
  }

  expect_failures = [var.fleet_role_arn]
}

run "bounds_that_cross_are_refused" {
  command = plan

  variables {
    capacity = { min = 4, max = 3 }
  }

  expect_failures = [var.capacity]
}

run "a_start_outside_of_the_bounds_is_refused" {
  command = plan

  variables {
    capacity = { initial = 21 }
  }

  expect_failures = [var.capacity]
}

run "an_unknown_strategy_is_refused" {
  command = plan

  variables {
    allocation_strategy = "cheapest"
  }

  expect_failures = [var.allocation_strategy]
}

run "a_target_of_everything_is_refused" {
  command = plan

  variables {
    target_cpu = 100
  }

  expect_failures = [var.target_cpu]
}

run "three_hops_are_refused" {
  command = plan

  variables {
    metadata_hop_limit = 3
  }

  expect_failures = [var.metadata_hop_limit]
}

run "an_end_that_is_near_is_warned_of" {
  command   = plan
  state_key = "expiry"

  variables {
    valid_until = "2020-01-01T00:00:00Z"
  }

  expect_failures = [check.expiry]
}

run "tags_of_others_are_refused" {
  command = plan

  variables {
    tags = { "muster.nomad.node_pool" = "core" }
  }

  expect_failures = [var.tags]
}

# Spot would end each instance without a word.
run "a_key_by_its_alias_is_refused" {
  command = plan

  variables {
    root_volume = { kms_key_arn = "alias/nodes" }
  }

  expect_failures = [var.root_volume]
}

run "a_second_word_on_what_has_a_variable_is_refused" {
  command = plan

  variables {
    policy_blocks = <<-HCL
      workload {
        kind = "spreads"
      }
      capacity {
        max = 100
      }
    HCL
  }

  expect_failures = [var.policy_blocks]
}
