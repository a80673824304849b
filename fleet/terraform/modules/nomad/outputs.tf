output "autoscaler_policies" {
  description = "The policies that are bound to the autoscaler's job."
  value       = concat([nomad_acl_policy.autoscaler.name], sort([for policy in nomad_acl_policy.scaling : policy.name]))
}

output "node_policy" {
  description = "The policy of the nodes' tokens."
  value       = nomad_acl_policy.node.name
}

output "core_pool" {
  description = "The pool that the autoscaler runs in, for the job's `node_pool`; null where it is made elsewhere."
  value       = one(nomad_node_pool.core[*].name)
}
