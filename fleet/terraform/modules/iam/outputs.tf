output "node_instance_profile_arn" {
  description = "The nodes' instance profile."
  value       = aws_iam_instance_profile.node.arn
  # Who launches with it needs it to be of use.
  depends_on = [aws_iam_role_policy.node]
}

output "node_role_arn" {
  description = "The nodes' role: what Vault's AWS login binds to."
  value       = aws_iam_role.node.arn
}

output "node_role_name" {
  description = "The name of the nodes' role, to attach more to it."
  value       = aws_iam_role.node.name
}

output "fleet_role_arn" {
  description = "The role that a Spot Fleet launches with."
  value       = aws_iam_role.fleet.arn
  # EC2 tries it when the fleet is requested, and needs it until the fleet is gone.
  depends_on = [aws_iam_role_policy.fleet]
}

output "autoscaler_role_arn" {
  description = "The autoscaler's role, for the job's `role_arn`; null where nobody is trusted with it."
  value       = one(aws_iam_role.autoscaler[*].arn)
  depends_on  = [aws_iam_role_policy.autoscaler]
}

output "image_builder_role_arn" {
  description = "The role of who bakes images; null where nobody is trusted with it."
  value       = one(aws_iam_role.image_builder[*].arn)
  depends_on  = [aws_iam_role_policy.image_builder]
}

output "policies" {
  description = "The roles' policies as JSON, by role: node, fleet, autoscaler, image_builder. For reviews, and for roles that are made elsewhere."
  value       = local.policies
}
