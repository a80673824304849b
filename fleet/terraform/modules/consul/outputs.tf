output "auth_method" {
  description = "The auth method that trusts Nomad."
  value       = local.auth_method
}

output "autoscaler_policy" {
  description = "The policy of the autoscaler's job."
  value       = consul_acl_policy.autoscaler.name
}

output "node_policy" {
  description = "The policy of the nodes' tokens; null where they are made for each instance."
  value       = one(consul_acl_policy.node[*].name)
}

output "client_policy" {
  description = "The policy of Nomad's clients on the nodes."
  value       = consul_acl_policy.client.name
}

output "names_policy" {
  description = "The policy of who asks the nodes' agents of Consul for names."
  value       = consul_acl_policy.names.name
}
