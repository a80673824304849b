mock_provider "consul" {}

variables {
  auth_method = { jwks_url = "https://nomad.example.com:4646/.well-known/jwks.json" }
}

run "the_policies_are_the_files_that_are_shipped" {
  assert {
    condition     = consul_acl_policy.autoscaler.rules == file("${path.module}/../../../../autoscaler/nomad/job/consul-policy.hcl")
    error_message = "The autoscaler's, unchanged."
  }

  assert {
    condition     = replace(replace(consul_acl_policy.node[0].rules, "node_prefix \"i-\"", "node \"INSTANCE\""), "agent_prefix \"i-\"", "agent \"INSTANCE\"") == file("${path.module}/../../../../bootstrap/policies/consul.hcl")
    error_message = "The nodes', but for whose node it is."
  }

  assert {
    condition     = length(regexall("(?m)^node_prefix \"i-\" \\{\n  policy = \"write\"", consul_acl_policy.node[0].rules)) == 1 && length(regexall("(?m)^agent_prefix \"i-\" \\{\n  policy = \"read\"", consul_acl_policy.node[0].rules)) == 1 && length(regexall("(?m)^(node|agent) \"INSTANCE\"", consul_acl_policy.node[0].rules)) == 0
    error_message = "Its rules are for nodes of the fleets."
  }
}

run "clients_take_services_out_and_askers_look" {
  assert {
    condition     = consul_acl_policy.client.name == "muster-client" && consul_acl_policy.client.rules == file("${path.module}/../../../../bootstrap/policies/consul-nomad.hcl") && length(regexall("(?m)^service_prefix \"\" \\{\n  policy = \"write\"", consul_acl_policy.client.rules)) == 1 && length(regexall("\"write\"", consul_acl_policy.client.rules)) == 1
    error_message = "The file that is shipped, which writes services alone."
  }

  assert {
    condition     = consul_acl_policy.names.name == "muster-names" && consul_acl_policy.names.rules == file("${path.module}/../../../../bootstrap/policies/consul-names.hcl") && !strcontains(consul_acl_policy.names.rules, "\"write\"")
    error_message = "The file that is shipped, which only reads."
  }
}

run "sessions_and_keys_can_be_narrowed" {
  variables {
    autoscaler_node_prefixes = ["core-", "lab-1"]
    key_prefix               = "muster-autoscaler/other"
  }

  assert {
    condition     = strcontains(consul_acl_policy.autoscaler.rules, "session_prefix \"core-\" {") && strcontains(consul_acl_policy.autoscaler.rules, "session_prefix \"lab-1\" {") && !strcontains(consul_acl_policy.autoscaler.rules, "session_prefix \"\"")
    error_message = "Sessions of these nodes, and of no others."
  }

  assert {
    condition     = strcontains(consul_acl_policy.autoscaler.rules, "key_prefix \"muster-autoscaler/other/\" {") && !strcontains(consul_acl_policy.autoscaler.rules, "key_prefix \"muster-autoscaler/\"")
    error_message = "The ledger of this set."
  }
}

run "nomads_signatures_are_trusted" {
  assert {
    condition = jsondecode(consul_acl_auth_method.nomad[0].config_json) == {
      JWKSURL          = "https://nomad.example.com:4646/.well-known/jwks.json"
      JWTSupportedAlgs = ["RS256"]
      BoundAudiences   = ["consul.io"]
      ClaimMappings    = { nomad_namespace = "nomad_namespace", nomad_job_id = "nomad_job_id", nomad_task = "nomad_task", nomad_service = "nomad_service" }
    }
    error_message = "Its keys, for this audience."
  }

  assert {
    condition     = consul_acl_binding_rule.autoscaler.bind_type == "role" && consul_acl_binding_rule.autoscaler.selector == "\"nomad_service\" not in value and value.nomad_job_id == \"muster-autoscaler\" and value.nomad_namespace == \"default\""
    error_message = "The job's task has its role, and no other's."
  }

  assert {
    condition     = consul_acl_binding_rule.services[0].bind_type == "service" && consul_acl_binding_rule.services[0].bind_name == "$${value.nomad_service}"
    error_message = "A service is registered as itself."
  }
}

run "an_auth_method_that_is_there_is_used" {
  variables {
    auth_method = { create = false, name = "nomad-workloads" }
    node_prefix = null
  }

  assert {
    condition     = length(consul_acl_auth_method.nomad) == 0 && length(consul_acl_binding_rule.services) == 0 && consul_acl_binding_rule.autoscaler.auth_method == "nomad-workloads" && output.node_policy == null
    error_message = "It is not made again; nor is a policy for nodes that have their own."
  }
}

run "every_node_is_refused" {
  command = plan

  variables {
    node_prefix = ""
  }

  expect_failures = [var.node_prefix]
}

run "keys_are_asked_for" {
  command = plan

  variables {
    auth_method = {}
  }

  expect_failures = [var.auth_method]
}

run "names_that_are_none_are_refused" {
  command = plan

  variables {
    job                = { name = "muster.autoscaler" }
    node_policy_name   = "muster node"
    client_policy_name = ""
    names_policy_name  = "muster/names"
  }

  expect_failures = [var.job, var.node_policy_name, var.client_policy_name, var.names_policy_name]
}

run "a_prefix_with_a_slash_at_its_end_is_refused" {
  command = plan

  variables {
    key_prefix = "muster-autoscaler/"
  }

  expect_failures = [var.key_prefix]
}

run "no_node_at_all_is_refused" {
  command = plan

  variables {
    autoscaler_node_prefixes = []
  }

  expect_failures = [var.autoscaler_node_prefixes]
}

run "an_auth_method_without_a_name_is_refused" {
  command = plan

  variables {
    auth_method = { create = false, name = "nomad workloads" }
  }

  expect_failures = [var.auth_method]
}
