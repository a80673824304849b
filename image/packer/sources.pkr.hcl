# How a machine is got to bake on, for either image: on spot, of several types, reached without a password, by version 2 of the
# metadata service alone, and with disks that are encrypted from the first block.
source "amazon-ebs" "machine" {
  region              = var.region
  custom_endpoint_ec2 = var.endpoint
  # A rehearsal has no account that could be asked.
  skip_credential_validation = var.endpoint != ""
  skip_metadata_api_check    = var.endpoint != ""

  spot_instance_types  = var.instance_types[var.architecture]
  spot_price           = "auto"
  iam_instance_profile = var.instance_profile
  ebs_optimized        = true
  # A machine that Packer has lost ends itself, well after any bake.
  shutdown_behavior = "terminate"
  user_data         = "#!/bin/sh\nshutdown -P +180\n"

  dynamic "subnet_filter" {
    for_each = length(var.subnet_filter) > 0 ? [var.subnet_filter] : []
    content {
      filters   = subnet_filter.value
      most_free = true
      random    = true
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"

  # Encrypted from its first block: so is the snapshot, without a copy that Packer would make and wait for.
  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = 8
    encrypted             = true
    kms_key_id            = var.kms_key
    delete_on_termination = true
  }

  communicator              = var.communicator
  ssh_username              = "admin"
  ssh_interface             = var.ssh_interface
  ssh_timeout               = "10m"
  temporary_key_pair_type   = "ed25519"
  ssh_clear_authorized_keys = true
  # Whom the security group that Packer makes lets in by SSH.
  temporary_security_group_source_cidrs     = var.ssh_interface == "public_ip" ? null : var.ssh_from
  temporary_security_group_source_public_ip = var.ssh_interface == "public_ip"

  deprecate_at = timeadd(timestamp(), var.deprecate_after)
  # Its launch template, by which the role may remove it, and the request.
  spot_tags       = local.bake
  run_tags        = merge(local.provenance, local.bake)
  run_volume_tags = merge(local.provenance, local.bake)
  snapshot_tags   = local.provenance
  aws_polling {
    delay_seconds = 5
    max_attempts  = 240
  }
}
