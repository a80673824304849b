/**
 * # iam
 *
 * The roles of a fleet, each with what it needs and no more: the nodes' (an instance profile), the one that a Spot Fleet
 * launches with, and muster-autoscaler's. Every action is in `actions.json` with its scope and its reason. Tests hold that list
 * against calls: of the programs, of Packer, and of Consul (`node_join`). What only AWS can be seen to call (`fleet`, `image_keys`,
 * `image_session`) is held against AWS's documentation, and what EC2 asks for on others' behalf (`iam:PassRole`, `ec2:RunInstances`,
 * `ec2:CreateTags` and KMS in the other groups) is argued for by its reason alone.
 *
 * * The autoscaler ends instances of the named fleets alone: those that carry `muster:fleet`, which modules/fleet gives
 *   them. It cannot give that tag to what is there already: it tags only what is being launched. EC2 knows no resources for
 *   the calls that describe, nor for Spot Fleets.
 * * A node tags itself alone (`ready_tag`), by the instance that its credentials are of. Why so: docs/decisions/0065.
 * * Who may be the autoscaler: Nomad's workload identity of the job, where Nomad's issuer is an OpenID Connect provider
 *   of the account (`nomad_oidc`), or roles of yours (`autoscaler_trusted_role_arns`).
 * * Who bakes images (`image_builder`) has what Packer's Amazon plugin 1.8.2 calls with the templates of image/packer, and what
 *   muster-image calls for channels and the janitor; it ends, opens and removes what these templates have tagged
 *   (in China, where Packer tags no key pair and no security group as it makes it, any of these and any launch template of the
 *   region; in China and GovCloud, where it tags no image as it makes it, any image and snapshot of the account). With `session_manager` it may forward a port of a machine that is baked, and open no shell.
 * * Accounts' service-linked roles for spot (`AWSServiceRoleForEC2Spot`, `AWSServiceRoleForEC2SpotFleet`) are AWS's own, one
 *   of each an account: `aws iam create-service-linked-role --aws-service-name spot.amazonaws.com` and
 *   `spotfleet.amazonaws.com`, where they are missing.
 */

locals {
  actions = jsondecode(file("${path.module}/actions.json"))

  account    = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.region
  dns_suffix = data.aws_partition.current.dns_suffix
  arn        = "arn:${local.partition}"
  ec2        = "${local.arn}:ec2:${local.region}:${local.account}"

  parameters = "${local.arn}:ssm:${local.region}:${local.account}:parameter"

  images = ["${local.arn}:ec2:${local.region}::image/*", "${local.arn}:ec2:${local.region}::snapshot/*"]

  # What the templates of image/packer call all that a bake makes. Where Packer's plugin does not tag it as it makes it, the name cannot
  # be asked for: key pairs and groups in China; images and their snapshots in China and in GovCloud.
  of_bakes  = local.partition == "aws-cn" ? {} : { StringEquals = { "aws:ResourceTag/Name" = "muster-bake" } }
  of_images = local.partition == "aws" ? { Null = { "aws:ResourceTag/muster:playbook" = "false" } } : {}

  of_fleets = { StringEquals = { "aws:ResourceTag/muster:fleet" = var.fleets } }

  # What a scope of actions.json means: resources, and under which condition. A scope without resources is left out.
  scopes = {
    Any        = { resources = ["*"], condition = {} }
    SpotFleets = { resources = ["*"], condition = { StringEquals = { "aws:RequestedRegion" = local.region } } }
    Fleets     = { resources = ["${local.ec2}:fleet/*"], condition = local.of_fleets }
    FleetInstances = {
      resources = ["${local.ec2}:instance/*"]
      condition = local.of_fleets
    }
    # Tags of what is being launched: nothing that is there already can be given one, or whoever may end what carries a tag could
    # end everything.
    LaunchTags = {
      resources = ["${local.ec2}:*/*"]
      condition = { StringEquals = { "ec2:CreateAction" = ["CreateFleet", "ModifyFleet", "ModifySpotFleetRequest", "RequestSpotFleet", "RequestSpotInstances", "RunInstances"] } }
    }
    # The service tags after the launch, too: the kinds are those of AWS's own role for it (AWSEC2SpotFleetServiceRolePolicy).
    Launched = {
      resources = [for kind in ["instance", "network-interface", "spot-fleet-request", "spot-instances-request", "volume"] : "${local.ec2}:${kind}/*"]
      condition = {}
    }
    # Images, snapshots, templates, subnets, interfaces, volumes: RunInstances names them all.
    Launch = { resources = ["*"], condition = { StringEquals = { "aws:RequestedRegion" = local.region } } }
    NodeRole = {
      resources = [aws_iam_role.node.arn]
      condition = { StringEquals = { "iam:PassedToService" = "ec2.${local.dns_suffix}" } }
    }
    OwnTag = {
      resources = var.ready_tag == null ? [] : ["${local.ec2}:instance/*"]
      condition = {
        StringEquals = local.of_fleets.StringEquals
        # EC2 says with the credentials of an instance which one they are of; the other is the one to be tagged.
        ArnEquals                   = { "ec2:SourceInstanceARN" = "${local.ec2}:instance/$${ec2:InstanceID}" }
        "ForAllValues:StringEquals" = { "aws:TagKeys" = [var.ready_tag] }
      }
    }
    Parameters = {
      resources = flatten([for path in var.parameter_paths : ["${local.parameters}${path}", "${local.parameters}${path}/*"]])
      condition = {}
    }
    ParameterKeys = { resources = var.parameter_key_arns, condition = { StringEquals = { "kms:ViaService" = "ssm.${local.region}.${local.dns_suffix}" } } }
    # Machines that are baked, by the name that the templates of image/packer give them.
    BakeInstances = {
      resources = ["${local.ec2}:instance/*"]
      condition = { StringEquals = { "aws:ResourceTag/Name" = "muster-bake" } }
    }
    BakeMachines = {
      resources = ["${local.ec2}:instance/*", "${local.ec2}:volume/*"]
      condition = { StringEquals = { "aws:ResourceTag/Name" = "muster-bake" } }
    }
    # What a bake makes besides the machine, and removes.
    BakeThings = {
      resources = [for kind in ["key-pair", "launch-template", "security-group"] : "${local.ec2}:${kind}/*"]
      condition = local.of_bakes
    }
    BakeTags = {
      resources = concat(["${local.ec2}:*/*"], local.images)
      condition = { StringEquals = { "ec2:CreateAction" = ["CreateFleet", "CreateImage", "CreateKeyPair", "CreateLaunchTemplate", "CreateSecurityGroup", "RunInstances"] } }
    }
    # EC2 makes the request by itself, without a tag; it gets that name and no other, and which bake's it is, which opens nothing.
    BakeRequests = {
      resources = ["${local.ec2}:spot-instances-request/*"]
      condition = {
        StringEquals                = { "aws:RequestTag/Name" = "muster-bake" }
        "ForAllValues:StringEquals" = { "aws:TagKeys" = ["Name", "muster:bake"] }
      }
    }
    # For the disks of the machine alone, by EC2; and for EC2 to go on with them.
    ImageKeys      = { resources = try(var.image_builder.image_key_arns, []), condition = { StringEquals = { "kms:ViaService" = "ec2.${local.region}.${local.dns_suffix}" } } }
    ImageKeyGrants = { resources = try(var.image_builder.image_key_arns, []), condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } } }
    NewImages      = { resources = local.images, condition = {} }
    # The session manager knows tags of instances by a key of its own. Without the check of the document, whoever may begin a session
    # may have a shell.
    BakeSessions = {
      resources = ["${local.ec2}:instance/*"]
      condition = {
        StringEquals = { "ssm:resourceTag/Name" = "muster-bake" }
        BoolIfExists = { "ssm:SessionDocumentAccessCheck" = "true" }
      }
    }
    SessionDocument = { resources = ["${local.arn}:ssm:${local.region}::document/AWS-StartPortForwardingSession"], condition = {} }
    # The session manager tags each session with whose it is.
    OwnSessions = {
      resources = ["${local.arn}:ssm:${local.region}:${local.account}:session/*"]
      condition = { StringLike = { "ssm:resourceTag/aws:ssmmessages:session-id" = "$${aws:userid}" } }
    }
    # Images and snapshots that these templates made.
    Images = {
      resources = local.images
      condition = local.of_images
    }
    # The channels, and the journal of each. They are listed by their path, which SSM checks without a slash at its end.
    Channels = {
      resources = try([for below in ["", "/*"] : "${local.parameters}${var.image_builder.channels}${below}"], [])
      condition = {}
    }
    BakeRole = {
      resources = try(var.image_builder.machine_role_arns, [])
      condition = { StringEquals = { "iam:PassedToService" = "ec2.${local.dns_suffix}" } }
    }
    BakeProfile = { resources = try(var.image_builder.machine_profile_arns, []), condition = {} }
    Queues      = { resources = var.queue_arns, condition = {} }
    QueueKeys   = { resources = var.queue_key_arns, condition = { StringEquals = { "kms:ViaService" = "sqs.${local.region}.${local.dns_suffix}" } } }
  }

  granted = {
    node       = concat(local.actions.node, var.consul_auto_join ? local.actions.node_join : [])
    fleet      = local.actions.fleet
    autoscaler = concat(local.actions.autoscaler, var.rollout ? local.actions.autoscaler_rollout : [])

    image_builder = concat(
      local.actions.image_builder,
      local.actions.image_publisher,
      local.actions.image_keys,
      try(var.image_builder.session_manager, false) ? local.actions.image_session : [],
    )
  }

  # A statement for each scope of a role.
  policies = {
    for role, grants in local.granted : role => jsonencode({
      Version = "2012-10-17"
      Statement = [
        for scope in sort(distinct(grants[*].scope)) : merge(
          {
            Sid      = scope
            Effect   = "Allow"
            Action   = sort(distinct([for grant in grants : grant.action if grant.scope == scope]))
            Resource = local.scopes[scope].resources
          },
          # A statement without a condition has no empty one.
          { for name, condition in { Condition = local.scopes[scope].condition } : name => condition if length(condition) > 0 },
        ) if length(local.scopes[scope].resources) > 0
      ]
    })
  }

  nomad_issuer = var.nomad_oidc == null ? null : trimprefix(var.nomad_oidc.issuer, "https://")

  autoscaler_trust = concat(
    var.nomad_oidc == null ? [] : [{
      Sid       = "NomadJob"
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = local.oidc_provider_arn }
      Condition = {
        StringEquals = { "${local.nomad_issuer}:aud" = "sts.amazonaws.com" }
        StringLike   = { "${local.nomad_issuer}:sub" = var.nomad_oidc.subject }
      }
    }],
    length(var.autoscaler_trusted_role_arns) == 0 ? [] : [{
      Sid       = "Roles"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = var.autoscaler_trusted_role_arns }
    }],
  )

  oidc_provider_arn = try(coalesce(var.nomad_oidc.provider_arn, one(aws_iam_openid_connect_provider.nomad[*].arn)), null)
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

resource "aws_iam_role" "node" {
  name        = "${var.name}-node"
  description = "Nodes of the fleets ${join(", ", var.fleets)}"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.${local.dns_suffix}" }
    }]
  })
}

resource "aws_iam_role_policy" "node" {
  name   = "muster"
  role   = aws_iam_role.node.name
  policy = local.policies.node
}

resource "aws_iam_instance_profile" "node" {
  name = "${var.name}-node"
  role = aws_iam_role.node.name
  tags = var.tags
}

resource "aws_iam_role" "fleet" {
  name        = "${var.name}-fleet"
  description = "What EC2 launches the Spot Fleets ${join(", ", var.fleets)} with"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "spotfleet.${local.dns_suffix}" }
    }]
  })
}

resource "aws_iam_role_policy" "fleet" {
  name   = "muster"
  role   = aws_iam_role.fleet.name
  policy = local.policies.fleet
}

resource "aws_iam_openid_connect_provider" "nomad" {
  count = try(var.nomad_oidc.provider_arn, "") == null ? 1 : 0

  url            = var.nomad_oidc.issuer
  client_id_list = ["sts.amazonaws.com"]
  tags           = var.tags
}

resource "aws_iam_role" "autoscaler" {
  count = length(local.autoscaler_trust) > 0 ? 1 : 0

  name        = "${var.name}-autoscaler"
  description = "muster-autoscaler of the fleets ${join(", ", var.fleets)}"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = local.autoscaler_trust
  })
}

resource "aws_iam_role_policy" "autoscaler" {
  count = length(aws_iam_role.autoscaler)

  name   = "muster"
  role   = aws_iam_role.autoscaler[count.index].name
  policy = local.policies.autoscaler
}

resource "aws_iam_role" "image_builder" {
  count = var.image_builder == null ? 0 : 1

  name        = "${var.name}-image-builder"
  description = "Packer, as the pipeline of images runs it"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = var.image_builder.trusted_role_arns }
    }]
  })
}

resource "aws_iam_role_policy" "image_builder" {
  count = length(aws_iam_role.image_builder)

  name   = "muster"
  role   = aws_iam_role.image_builder[count.index].name
  policy = local.policies.image_builder
}
