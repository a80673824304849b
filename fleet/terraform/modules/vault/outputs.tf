output "node_role" {
  description = "The role that nodes log in with, for `vault.aws.role` of the agent's configuration; null where there is no such login."
  value       = one(vault_aws_auth_backend_role.node[*].role)
}

output "node_policy" {
  description = "The policy of the nodes' tokens."
  value       = vault_policy.node.name
}

output "consul_token_path" {
  description = "Where a node has its token of Consul, for a template of the agent: `{{ secret(\"...\").token }}`; null where there is none."
  value       = one([for role in vault_consul_secret_backend_role.node : "${role.backend}/creds/${role.name}"])
}

output "nomad_token_path" {
  description = "Where a node has its token of Nomad, for a template of the agent: `{{ secret(\"...\").secret_id }}`; null where there is none."
  value       = one([for role in vault_nomad_secret_role.node : "${role.backend}/creds/${role.role}"])
}

output "nomad_auth_mount" {
  description = "Where Nomad's jobs log in, for the clients' `vault { jwt_auth_backend_path }`; null where it is not made here."
  value       = one(vault_jwt_auth_backend.nomad[*].path)
}
