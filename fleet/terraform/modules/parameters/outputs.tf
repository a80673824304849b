output "fragment_names" {
  description = "The parameters that hold the agents' configuration."
  value       = sort([for parameter in aws_ssm_parameter.fragment : parameter.name])
}

output "awx_key_name" {
  description = "The parameter with AWX's key, for `awx.key_parameter`; null where there is none."
  value       = one(aws_ssm_parameter.awx_key[*].name)
}

output "policy_names" {
  description = "The parameters with the policies, by fleet."
  value       = { for fleet, parameter in aws_ssm_parameter.policy : fleet => parameter.name }
}
