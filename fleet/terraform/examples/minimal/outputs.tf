output "policy" {
  description = "The policy: `terraform output -raw policy > web.hcl; muster-autoscaler check web.hcl`."
  value       = module.fleet.policy
}

output "fleet_id" {
  description = "The fleet's id."
  value       = module.fleet.id
}
