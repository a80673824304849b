/**
 * # parameters
 *
 * What agents and people read in Parameter Store: the fragments of the agents' configuration beneath the path that the
 * nodes' user data names, the key that AWX is asked with, and the policy of muster-autoscaler for the pipeline that runs
 * its job.
 *
 * * Fragments are no secrets and are plain: the agent reads no SecureString as configuration, and a secret has no place in
 *   one. What belongs to all nodes of a fleet goes here, what is of one image into the image.
 * * AWX's key is a SecureString that Terraform writes and never reads: it is neither in a plan nor in the state
 *   (`value_wo`). Raise `awx_key_version` with a new key.
 * * The policy lies beside that path, not beneath: nodes have no use for it.
 */

locals {
  fragments = merge(
    {
      "10-fleet" = templatefile("${path.module}/fleet.hcl.tftpl", {
        fleet     = var.fleet
        service   = var.autoscaler_service
        addresses = var.autoscaler_addresses
      })
    },
    var.fragments,
  )
}

resource "aws_ssm_parameter" "fragment" {
  # checkov:skip=CKV2_AWS_34:Configuration, not a secret; the agent leaves SecureStrings out.
  for_each = local.fragments

  name        = "${var.path}/${each.key}"
  description = "Configuration of the agents of fleet ${var.fleet}"
  type        = "String"
  tier        = "Intelligent-Tiering"
  value       = each.value
  tags        = var.tags
}

resource "aws_ssm_parameter" "awx_key" {
  count = var.awx_key_version > 0 ? 1 : 0

  name             = "${var.path}/awx-key"
  description      = "Host config key of the job template that nodes of fleet ${var.fleet} ask AWX for"
  type             = "SecureString"
  key_id           = var.kms_key_arn
  value_wo         = var.awx_key
  value_wo_version = var.awx_key_version
  tags             = var.tags
}

resource "aws_ssm_parameter" "policy" {
  # checkov:skip=CKV2_AWS_34:A policy is no secret: it is in the repository, and on the autoscaler's own pages.
  for_each = var.policies

  name        = "${var.policy_path}/${each.key}"
  description = "Policy of fleet ${each.key} for muster-autoscaler"
  type        = "String"
  tier        = "Intelligent-Tiering"
  value       = each.value
  tags        = var.tags
}
