/**
 * # nomad
 *
 * What muster needs in Nomad: the rights of the autoscaler's job, which it has by its workload identity; the rights that
 * nodes' tokens carry; and the node pools.
 *
 * * The policies are the files that the programs ship with (`autoscaler/nomad/job`, `bootstrap/policies`): this module reads
 *   them where they are, and has no copy.
 * * The job has no token: a policy is bound to its name and namespace, and Nomad signs its identity.
 * * Three kinds of pools: one that nothing scales, for the autoscaler; one that no job names, in which a node is until it is
 *   proved; and those that the fleets work in.
 */

locals {
  # The repository, as a whole: a module that is fetched from it by `git::...//fleet/terraform/modules/nomad` comes with it.
  repository = "${path.module}/../../../.."
  shipped = {
    autoscaler = file("${local.repository}/autoscaler/nomad/job/nomad-policy.hcl")
    scaling    = file("${local.repository}/autoscaler/nomad/job/nomad-scaling-policy.hcl")
    node       = file("${local.repository}/bootstrap/policies/nomad.hcl")
  }
}

resource "nomad_acl_policy" "autoscaler" {
  name        = var.job.name
  description = "muster-autoscaler: nodes, and what runs on them"
  rules_hcl   = local.shipped.autoscaler

  job_acl {
    namespace = var.job.namespace
    job_id    = var.job.name
  }
}

# The file is for the namespace `default`; each one has a rule of its own.
resource "nomad_acl_policy" "scaling" {
  for_each = toset(var.scaled_namespaces)

  name        = "${var.job.name}-scaling-${each.key}"
  description = "muster-autoscaler: counts of groups in ${each.key}"
  rules_hcl   = replace(local.shipped.scaling, "namespace \"default\"", "namespace \"${each.key}\"")

  job_acl {
    namespace = var.job.namespace
    job_id    = var.job.name
  }
}

resource "nomad_acl_policy" "node" {
  name        = var.node_policy_name
  description = "muster-bootstrap: looks at its client and at nodes"
  rules_hcl   = local.shipped.node
}

resource "nomad_node_pool" "core" {
  count = var.core_pool == null ? 0 : 1

  name        = var.core_pool
  description = "Nodes that nothing scales: where muster-autoscaler runs"
  meta        = { managed_by = "terraform" }
}

resource "nomad_node_pool" "proving" {
  name        = var.proving_pool
  description = "Nodes that are not proved yet: no job names it"
  meta        = { managed_by = "terraform" }
}

resource "nomad_node_pool" "fleet" {
  for_each = toset(var.fleet_pools)

  name        = each.key
  description = "Nodes of a fleet that muster-autoscaler holds at its target"
  meta        = { managed_by = "terraform" }
}
