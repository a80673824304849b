output "policy" {
  description = "The policy: `terraform output -raw policy > web.hcl; muster-autoscaler check web.hcl`."
  value       = module.fleet.policy
}

output "fleet_id" {
  description = "The fleet's id."
  value       = module.fleet.id
}

output "muster_policies" {
  description = "The policies by fleet. By this name, image/jenkins/gate judges what a plan changes in them."
  value       = { (var.name) = module.fleet.policy }
}
