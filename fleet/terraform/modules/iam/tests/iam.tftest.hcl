mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }

  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }
}

override_resource {
  target = aws_iam_role.node
  values = { arn = "arn:aws:iam::123456789012:role/muster-node" }
}

variables {
  fleets          = ["web", "batch"]
  parameter_paths = ["/muster/web"]
  queue_arns      = ["arn:aws:sqs:eu-west-1:123456789012:muster-notices"]
  ready_tag       = "muster:state"
  nomad_oidc      = { issuer = "https://nomad.example.com" }
}

run "the_documents_have_exactly_the_actions_that_are_listed" {
  variables {
    parameter_key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/1"]
    queue_key_arns     = ["arn:aws:kms:eu-west-1:123456789012:key/2"]
    consul_auto_join   = true
    image_builder = {
      trusted_role_arns    = ["arn:aws:iam::123456789012:role/pipeline"]
      machine_role_arns    = ["arn:aws:iam::123456789012:role/bake"]
      machine_profile_arns = ["arn:aws:iam::123456789012:instance-profile/bake"]
      session_manager      = true
      image_key_arns       = ["arn:aws:kms:eu-west-1:123456789012:key/3"]
    }
  }

  assert {
    condition = { for role, policy in output.policies : role => sort(flatten(jsondecode(policy).Statement[*].Action)) } == {
      node       = sort(concat(local.actions.node, local.actions.node_join)[*].action)
      fleet      = sort(local.actions.fleet[*].action)
      autoscaler = sort(concat(local.actions.autoscaler, local.actions.autoscaler_rollout)[*].action)

      image_builder = sort([for grant in distinct([for grant in concat(local.actions.image_builder, local.actions.image_publisher, local.actions.image_keys, local.actions.image_session) : "${grant.scope} ${grant.action}"]) : split(" ", grant)[1]])
    }
    error_message = "Each action of actions.json, once."
  }

  assert {
    condition     = alltrue(flatten([for grants in values(local.actions) : [for grant in grants : length(grant.why) > 10 && can(local.scopes[grant.scope]) && !strcontains(grant.action, "*")]]))
    error_message = "Each has its reason and its scope, and none stands for several."
  }

  assert {
    condition     = aws_iam_role_policy.node.policy == output.policies.node && aws_iam_role_policy.fleet.policy == output.policies.fleet && aws_iam_role_policy.autoscaler[0].policy == output.policies.autoscaler
    error_message = "These are the roles' policies."
  }

  assert {
    condition     = alltrue([for policy in values(output.policies) : length(policy) <= 10240])
    error_message = "A role takes no more of policies that are written into it."
  }
}

run "what_is_not_asked_for_is_not_granted" {
  variables {
    queue_arns = []
    ready_tag  = null
    rollout    = false
  }

  assert {
    condition     = sort(flatten(jsondecode(output.policies.node).Statement[*].Action)) == sort(["ssm:GetParameter", "ssm:GetParametersByPath"])
    error_message = "Without a tag, keys and Consul's search there are the parameters."
  }

  assert {
    condition     = length([for action in flatten(jsondecode(output.policies.autoscaler).Statement[*].Action) : action if startswith(action, "sqs:") || startswith(action, "kms:") || startswith(action, "iam:") || action == "ec2:RunInstances"]) == 0
    error_message = "Without a queue, keys and roll-outs there is none of theirs."
  }
}

run "instances_of_the_fleets_alone_are_ended" {
  assert {
    condition = [for statement in jsondecode(output.policies.autoscaler).Statement : statement if statement.Sid == "FleetInstances"] == [{
      Sid       = "FleetInstances"
      Effect    = "Allow"
      Action    = ["ec2:TerminateInstances"]
      Resource  = ["arn:aws:ec2:eu-west-1:123456789012:instance/*"]
      Condition = { StringEquals = { "aws:ResourceTag/muster:fleet" = ["web", "batch"] } }
    }]
    error_message = "By their tag."
  }

  assert {
    condition     = [for statement in jsondecode(output.policies.autoscaler).Statement : statement.Resource if statement.Sid == "Queues"] == [["arn:aws:sqs:eu-west-1:123456789012:muster-notices"]]
    error_message = "One queue."
  }

  assert {
    condition     = alltrue([for policy in values(output.policies) : alltrue([for statement in jsondecode(policy).Statement : statement.Effect == "Allow" && (contains(["Any", "SpotFleets", "Launch"], statement.Sid) || !contains(statement.Resource, "*"))])])
    error_message = "Any resource stands only where EC2 knows none."
  }

  assert {
    condition     = alltrue([for policy in values(output.policies) : alltrue([for statement in jsondecode(policy).Statement : alltrue([for action in statement.Action : can(regex(":(Describe|Get)", action))]) if statement.Sid == "Any"])])
    error_message = "What is allowed without any condition only looks."
  }
}

# Or whoever may end what carries a tag gives it to whatever it likes first.
run "what_is_there_already_is_given_no_tag_that_opens_it" {
  variables {
    image_builder = { trusted_role_arns = ["arn:aws:iam::123456789012:role/pipeline"] }
  }

  assert {
    condition = [for statement in jsondecode(output.policies.autoscaler).Statement : statement if contains(statement.Action, "ec2:CreateTags")] == [{
      Sid       = "LaunchTags"
      Effect    = "Allow"
      Action    = ["ec2:CreateTags"]
      Resource  = ["arn:aws:ec2:eu-west-1:123456789012:*/*"]
      Condition = { StringEquals = { "ec2:CreateAction" = ["CreateFleet", "ModifyFleet", "ModifySpotFleetRequest", "RequestSpotFleet", "RequestSpotInstances", "RunInstances"] } }
    }]
    error_message = "The autoscaler tags only what is being launched."
  }

  assert {
    condition     = [for statement in jsondecode(output.policies.fleet).Statement : [for arn in statement.Resource : split("/", split(":", arn)[5])[0]] if contains(statement.Action, "ec2:CreateTags")] == [["instance", "network-interface", "spot-fleet-request", "spot-instances-request", "volume"]]
    error_message = "A Spot Fleet tags what it launches, and itself."
  }

  assert {
    condition = { for statement in jsondecode(output.policies.image_builder).Statement : statement.Sid => statement.Condition if contains(statement.Action, "ec2:CreateTags") } == {
      BakeMachines = { StringEquals = { "aws:ResourceTag/Name" = "muster-bake" } }
      BakeRequests = { StringEquals = { "aws:RequestTag/Name" = "muster-bake" }, "ForAllValues:StringEquals" = { "aws:TagKeys" = ["Name", "muster:bake"] } }
      BakeTags     = { StringEquals = { "ec2:CreateAction" = ["CreateFleet", "CreateImage", "CreateKeyPair", "CreateLaunchTemplate", "CreateSecurityGroup", "RunInstances"] } }
      Images       = { Null = { "aws:ResourceTag/muster:playbook" = "false" } }
    }
    error_message = "Who bakes tags what it makes, and what it made."
  }

  assert {
    condition     = [for statement in jsondecode(output.policies.image_builder).Statement : statement.Resource if statement.Sid == "BakeRequests"] == [["arn:aws:ec2:eu-west-1:123456789012:spot-instances-request/*"]]
    error_message = "Only a spot request is named after it is there."
  }
}

run "who_bakes_touches_what_a_bake_made" {
  variables {
    image_builder = { trusted_role_arns = ["arn:aws:iam::123456789012:role/pipeline"], session_manager = true }
  }

  assert {
    condition     = alltrue([for statement in jsondecode(output.policies.image_builder).Statement : can(regex("aws:ResourceTag/(Name|muster:playbook)\"", jsonencode(statement.Condition))) if anytrue([for action in statement.Action : can(regex("^ec2:(Authorize|Delete|Deregister|Enable|Modify|Terminate)", action))])])
    error_message = "Nothing is opened, changed, ended or removed but by its tag."
  }

  assert {
    condition     = [for statement in jsondecode(output.policies.image_builder).Statement : [statement.Action, statement.Resource] if statement.Sid == "BakeThings"] == [[["ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteKeyPair", "ec2:DeleteLaunchTemplate", "ec2:DeleteSecurityGroup"], ["arn:aws:ec2:eu-west-1:123456789012:key-pair/*", "arn:aws:ec2:eu-west-1:123456789012:launch-template/*", "arn:aws:ec2:eu-west-1:123456789012:security-group/*"]]]
    error_message = "What Packer makes besides the machine."
  }

  assert {
    condition     = [for statement in jsondecode(output.policies.image_builder).Statement : statement.Sid if contains(statement.Action, "ec2:CreateImage")] == ["BakeInstances", "NewImages"]
    error_message = "An image is made of a machine of a bake."
  }

  assert {
    condition = { for statement in jsondecode(output.policies.image_builder).Statement : statement.Sid => [statement.Action, statement.Resource, try(statement.Condition, null)] if anytrue([for action in statement.Action : startswith(action, "ssm:") && endswith(action, "Session")]) } == {
      BakeSessions = [["ssm:StartSession"], ["arn:aws:ec2:eu-west-1:123456789012:instance/*"], {
        StringEquals = { "ssm:resourceTag/Name" = "muster-bake" }
        BoolIfExists = { "ssm:SessionDocumentAccessCheck" = "true" }
      }]
      SessionDocument = [["ssm:StartSession"], ["arn:aws:ssm:eu-west-1::document/AWS-StartPortForwardingSession"], null]
      OwnSessions     = [["ssm:TerminateSession"], ["arn:aws:ssm:eu-west-1:123456789012:session/*"], { StringLike = { "ssm:resourceTag/aws:ssmmessages:session-id" = "$${aws:userid}" } }]
    }
    error_message = "A port of a machine of a bake, and the end of what it began."
  }
}

run "keys_of_images_are_used_for_their_disks" {
  variables {
    image_builder = { trusted_role_arns = ["arn:aws:iam::123456789012:role/pipeline"], image_key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/3"] }
  }

  assert {
    condition = { for statement in jsondecode(output.policies.image_builder).Statement : statement.Sid => [statement.Resource, statement.Condition] if anytrue([for action in statement.Action : startswith(action, "kms:")]) } == {
      ImageKeys      = [["arn:aws:kms:eu-west-1:123456789012:key/3"], { StringEquals = { "kms:ViaService" = "ec2.eu-west-1.amazonaws.com" } }]
      ImageKeyGrants = [["arn:aws:kms:eu-west-1:123456789012:key/3"], { Bool = { "kms:GrantIsForAWSResource" = "true" } }]
    }
    error_message = "By EC2, and for EC2."
  }
}

run "without_the_session_manager_there_is_no_session" {
  variables {
    image_builder = { trusted_role_arns = ["arn:aws:iam::123456789012:role/pipeline"] }
  }

  assert {
    condition     = length([for action in flatten(jsondecode(output.policies.image_builder).Statement[*].Action) : action if can(regex("Session$|^ssmmessages:|InstanceStatus$|^kms:", action))]) == 0
    error_message = "Nobody asked for it."
  }
}

# Packer's plugin tags no image there as it makes it.
run "where_images_are_not_tagged_as_they_are_made_a_bake_tags_them_all_the_same" {
  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-us-gov", dns_suffix = "amazonaws.com" }
  }

  variables {
    image_builder = { trusted_role_arns = ["arn:aws-us-gov:iam::123456789012:role/pipeline"] }
  }

  assert {
    condition     = { for statement in jsondecode(output.policies.image_builder).Statement : statement.Sid => can(statement.Condition) if contains(["BakeThings", "Images"], statement.Sid) } == { BakeThings = true, Images = false }
    error_message = "A condition on a tag that is not there would keep every bake from its end; on one that is there it stays."
  }
}

# Nor key pairs and groups here.
run "where_nothing_is_tagged_as_it_is_made_a_bake_ends_all_the_same" {
  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-cn", dns_suffix = "amazonaws.com.cn" }
  }

  variables {
    image_builder = { trusted_role_arns = ["arn:aws-cn:iam::123456789012:role/pipeline"] }
  }

  assert {
    condition     = { for statement in jsondecode(output.policies.image_builder).Statement : statement.Sid => can(statement.Condition) if contains(["BakeThings", "Images"], statement.Sid) } == { BakeThings = false, Images = false }
    error_message = "A condition on a name that is not there would keep every bake from ending."
  }
}

run "a_node_reads_its_own_parameters_and_gives_one_tag" {
  assert {
    condition     = [for statement in jsondecode(output.policies.node).Statement : statement.Resource if statement.Sid == "Parameters"] == [["arn:aws:ssm:eu-west-1:123456789012:parameter/muster/web", "arn:aws:ssm:eu-west-1:123456789012:parameter/muster/web/*"]]
    error_message = "Its path, and what is beneath."
  }

  assert {
    condition = [for statement in jsondecode(output.policies.node).Statement : statement.Condition if statement.Sid == "OwnTag"] == [{
      StringEquals                = { "aws:ResourceTag/muster:fleet" = ["web", "batch"] }
      ArnEquals                   = { "ec2:SourceInstanceARN" = "arn:aws:ec2:eu-west-1:123456789012:instance/$${ec2:InstanceID}" }
      "ForAllValues:StringEquals" = { "aws:TagKeys" = ["muster:state"] }
    }]
    error_message = "That tag, on itself, where it is of the fleets."
  }
}

run "who_bakes_images_moves_their_channels_alone" {
  variables {
    image_builder = { trusted_role_arns = ["arn:aws:iam::123456789012:role/pipeline"], channels = "/site/images" }
  }

  assert {
    condition     = [for statement in jsondecode(output.policies.image_builder).Statement : statement.Resource if statement.Sid == "Channels"] == [["arn:aws:ssm:eu-west-1:123456789012:parameter/site/images", "arn:aws:ssm:eu-west-1:123456789012:parameter/site/images/*"]]
    error_message = "What is beneath their path."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(output.policies.image_builder).Statement : statement.Sid == "Images" if contains(statement.Action, "ec2:DeregisterImage") || contains(statement.Action, "ec2:ModifyImageAttribute")])
    error_message = "Nobody else's images are changed or removed."
  }
}

run "one_job_may_be_the_autoscaler" {
  assert {
    condition     = jsondecode(aws_iam_role.autoscaler[0].assume_role_policy).Statement[0].Condition == { StringEquals = { "nomad.example.com:aud" = "sts.amazonaws.com" }, StringLike = { "nomad.example.com:sub" = "global:default:muster-autoscaler:*" } }
    error_message = "By Nomad's word for the job's identity."
  }

  assert {
    condition     = aws_iam_openid_connect_provider.nomad[0].url == "https://nomad.example.com" && length(jsondecode(aws_iam_role.autoscaler[0].assume_role_policy).Statement) == 1
    error_message = "Nomad's issuer is made known, and nobody else is trusted."
  }
}

run "a_provider_that_is_there_is_used" {
  variables {
    nomad_oidc = { issuer = "https://nomad.example.com", provider_arn = "arn:aws:iam::123456789012:oidc-provider/nomad.example.com" }
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.nomad) == 0 && jsondecode(aws_iam_role.autoscaler[0].assume_role_policy).Statement[0].Principal.Federated == "arn:aws:iam::123456789012:oidc-provider/nomad.example.com"
    error_message = "It is not made again."
  }
}

run "without_anybody_to_trust_there_is_no_role" {
  variables {
    nomad_oidc = null
  }

  assert {
    condition     = length(aws_iam_role.autoscaler) == 0 && output.autoscaler_role_arn == null
    error_message = "No role that nobody may have."
  }
}

run "who_bakes_ends_what_is_baked" {
  variables {
    image_builder = { trusted_role_arns = ["arn:aws:iam::123456789012:role/pipeline"] }
  }

  assert {
    condition     = [for statement in jsondecode(output.policies.image_builder).Statement : statement if statement.Sid == "BakeInstances"][0].Condition == { StringEquals = { "aws:ResourceTag/Name" = "muster-bake" } }
    error_message = "Machines of the bake alone."
  }

  assert {
    condition     = length([for action in flatten(jsondecode(output.policies.image_builder).Statement[*].Action) : action if startswith(action, "iam:")]) == 0
    error_message = "No role is passed where the machine has none."
  }

  assert {
    condition     = jsondecode(aws_iam_role.image_builder[0].assume_role_policy).Statement[0].Principal == { AWS = ["arn:aws:iam::123456789012:role/pipeline"] }
    error_message = "The pipeline's role, and nobody else."
  }
}

run "any_job_is_refused" {
  command = plan

  variables {
    nomad_oidc = { issuer = "https://nomad.example.com", subject = "global:default:*" }
  }

  expect_failures = [var.nomad_oidc]
}

run "any_queue_is_refused" {
  command = plan

  variables {
    queue_arns = ["arn:aws:sqs:eu-west-1:123456789012:*"]
  }

  expect_failures = [var.queue_arns]
}

run "the_tag_of_the_fleet_is_not_a_nodes_to_give" {
  command = plan

  variables {
    ready_tag = "muster:fleet"
  }

  expect_failures = [var.ready_tag]
}

run "no_fleet_is_refused" {
  command = plan

  variables {
    fleets = []
  }

  expect_failures = [var.fleets]
}

run "another_issuers_provider_is_refused" {
  command = plan

  variables {
    nomad_oidc = { issuer = "https://nomad.example.com", provider_arn = "arn:aws:iam::123456789012:oidc-provider/example.com" }
  }

  expect_failures = [var.nomad_oidc]
}

run "any_instance_profile_is_refused" {
  command = plan

  variables {
    image_builder = { trusted_role_arns = ["arn:aws:iam::123456789012:role/pipeline"], machine_profile_arns = ["arn:aws:iam::123456789012:instance-profile/*"] }
  }

  expect_failures = [var.image_builder]
}

run "a_key_by_its_alias_is_refused" {
  command = plan

  variables {
    image_builder = { trusted_role_arns = ["arn:aws:iam::123456789012:role/pipeline"], image_key_arns = ["arn:aws:kms:eu-west-1:123456789012:alias/images"] }
  }

  expect_failures = [var.image_builder]
}

run "tags_of_aws_are_refused" {
  command = plan

  variables {
    tags = { "aws:owner" = "us" }
  }

  expect_failures = [var.tags]
}
