output "muster_policies" {
  description = "The policies by fleet, as text for the job: `terraform output -json muster_policies | jq -r '.[]' > policies.hcl`. By this name, image/jenkins/gate judges what a plan changes in them."
  value       = { for name, fleet in module.fleet : name => fleet.policy }
}

output "job" {
  description = "Variables of the autoscaler's job."
  value = {
    region    = var.region
    node_pool = module.nomad.core_pool
    queue_url = module.notices.queue_url
    role_arn  = module.iam.autoscaler_role_arn
    tls_role  = "pki/issue/muster"
  }
}
