output "id" {
  description = "EC2's id of the fleet: sfr-... or fleet-...."
  value       = local.fleet_id
}

output "name" {
  description = "The fleet's name, as its policy has it."
  value       = var.name
}

output "policy" {
  description = "The fleet's policy for muster-autoscaler, as HCL."
  value = templatefile("${path.module}/policy.hcl.tftpl", {
    name       = var.name
    id         = local.fleet_id
    region     = data.aws_region.current.region
    capacity   = var.capacity
    target_cpu = var.target_cpu
    # The objective's default of 80 % has to lie above the target.
    objective_above = var.target_cpu >= 80 ? min(100, var.target_cpu + 5) : null
    families        = var.families
    drain_by        = var.drain_by
    blocks          = var.policy_blocks
  })
}

output "launch_template" {
  description = "The launch template: its id, its name, and its newest version, which a roll-out brings to the fleet."
  value = {
    id             = aws_launch_template.this.id
    name           = aws_launch_template.this.name
    latest_version = aws_launch_template.this.latest_version
  }
}

output "configuration_path" {
  description = "Where the agents find their configuration in Parameter Store."
  value       = local.configuration_path
}

output "backend" {
  description = "Which of EC2's services holds the fleet."
  value       = var.backend
}
