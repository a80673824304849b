mock_provider "nomad" {}

run "the_policies_are_the_files_that_are_shipped" {
  variables {
    scaled_namespaces = ["default", "batch"]
  }

  assert {
    condition     = nomad_acl_policy.autoscaler.rules_hcl == file("${path.module}/../../../../autoscaler/nomad/job/nomad-policy.hcl")
    error_message = "The autoscaler's, unchanged."
  }

  assert {
    condition     = nomad_acl_policy.node.rules_hcl == file("${path.module}/../../../../bootstrap/policies/nomad.hcl")
    error_message = "The nodes', unchanged."
  }

  assert {
    condition     = nomad_acl_policy.scaling["default"].rules_hcl == file("${path.module}/../../../../autoscaler/nomad/job/nomad-scaling-policy.hcl")
    error_message = "For the namespace default, unchanged."
  }

  assert {
    condition     = length(regexall("namespace \"batch\" \\{", nomad_acl_policy.scaling["batch"].rules_hcl)) == 1 && !strcontains(nomad_acl_policy.scaling["batch"].rules_hcl, "namespace \"default\"")
    error_message = "For another namespace, with its name."
  }

  assert {
    condition     = output.autoscaler_policies == ["muster-autoscaler", "muster-autoscaler-scaling-batch", "muster-autoscaler-scaling-default"]
    error_message = "All of them are told."
  }
}

run "rights_follow_the_job" {
  assert {
    condition     = nomad_acl_policy.autoscaler.job_acl[0].job_id == "muster-autoscaler" && nomad_acl_policy.autoscaler.job_acl[0].namespace == "default" && length(nomad_acl_policy.node.job_acl) == 0 && length(nomad_acl_policy.scaling) == 0
    error_message = "The autoscaler's are bound to its job; no counts are set where nothing is scaled along."
  }
}

run "pools_are_kept_apart" {
  variables {
    fleet_pools = ["web"]
  }

  assert {
    condition     = nomad_node_pool.core[0].name == "core" && nomad_node_pool.proving.name == "muster-proving" && keys(nomad_node_pool.fleet) == ["web"]
    error_message = "One for the autoscaler, one to prove nodes in, and the fleets'."
  }
}

run "scaled_nodes_are_not_where_the_autoscaler_runs" {
  command = plan

  variables {
    core_pool = "default"
  }

  expect_failures = [var.core_pool]
}

run "every_namespace_is_refused" {
  command = plan

  variables {
    scaled_namespaces = ["*"]
  }

  expect_failures = [var.scaled_namespaces]
}

run "names_that_are_none_are_refused" {
  command = plan

  variables {
    job              = { namespace = "*" }
    node_policy_name = "muster_node"
  }

  expect_failures = [var.job, var.node_policy_name]
}

run "pools_that_are_everybodys_are_refused" {
  command = plan

  variables {
    proving_pool = "default"
    fleet_pools  = ["web", "all"]
  }

  expect_failures = [var.proving_pool, var.fleet_pools]
}
