mock_provider "vault" {
  mock_resource "vault_jwt_auth_backend" {
    defaults = { accessor = "auth_jwt_1a2b" }
  }
}

variables {
  aws_login = {
    node_role_arns = ["arn:aws:iam::123456789012:role/muster-node"]
    server_id      = "vault.example.com"
  }
  nomad_login         = { jwks_url = "https://nomad.example.com:4646/.well-known/jwks.json" }
  secrets             = ["kv/data/node/*"]
  pki_roles           = ["pki/issue/node"]
  consul_secrets      = { policy = "muster-node" }
  nomad_secrets       = { policy = "muster-node" }
  autoscaler_pki_role = "pki/issue/muster"
}

run "a_node_reads_what_is_named" {
  assert {
    condition = [for rule in regexall("path \"([^\"]+)\" \\{\n  capabilities = \\[\"(\\w+)\"\\]", vault_policy.node.policy) : "${rule[1]} ${rule[0]}"] == [
      "read kv/data/node/*", "read consul/creds/muster-node", "read nomad/creds/muster-node", "update pki/issue/node",
    ]
    error_message = "Secrets, its tokens, certificates."
  }

  assert {
    condition     = output.consul_token_path == "consul/creds/muster-node" && output.nomad_token_path == "nomad/creds/muster-node"
    error_message = "And learns where its tokens are."
  }
}

run "a_node_logs_in_by_its_role" {
  assert {
    condition     = vault_aws_auth_backend_client.this[0].iam_server_id_header_value == "vault.example.com" && vault_aws_auth_backend_role.node[0].auth_type == "iam" && vault_aws_auth_backend_role.node[0].bound_iam_principal_arns == toset(["arn:aws:iam::123456789012:role/muster-node"])
    error_message = "That role, at this Vault."
  }

  assert {
    condition     = vault_aws_auth_backend_role.node[0].token_policies == toset(["muster-node"]) && vault_aws_auth_backend_role.node[0].token_ttl == 3600 && vault_aws_auth_backend_role.node[0].token_max_ttl == 86400
    error_message = "For an hour, for a day at most."
  }
}

run "jobs_log_in_by_what_nomad_signs" {
  assert {
    condition     = vault_jwt_auth_backend.nomad[0].jwks_url == "https://nomad.example.com:4646/.well-known/jwks.json" && vault_jwt_auth_backend_role.workloads[0].bound_audiences == toset(["vault.io"]) && vault_jwt_auth_backend_role.workloads[0].user_claim == "sub"
    error_message = "Its keys, this audience, by task."
  }

  assert {
    condition     = strcontains(vault_policy.workloads[0].policy, "path \"kv/data/{{identity.entity.aliases.auth_jwt_1a2b.metadata.nomad_namespace}}/{{identity.entity.aliases.auth_jwt_1a2b.metadata.nomad_job_id}}/*\"")
    error_message = "Each reads its own."
  }

  assert {
    condition     = vault_jwt_auth_backend_role.autoscaler[0].bound_claims == tomap({ nomad_namespace = "default", nomad_job_id = "muster-autoscaler" }) && vault_jwt_auth_backend_role.autoscaler[0].token_policies == toset(["muster-autoscaler"])
    error_message = "The autoscaler's role is of its job."
  }

  assert {
    condition     = regexall("path \"([^\"]+)\" \\{\n  capabilities = (.*)\n", vault_policy.autoscaler[0].policy) == tolist([["pki/issue/muster", "[\"update\"]"]])
    error_message = "A certificate, and nothing else."
  }
}

run "what_is_not_wanted_is_not_made" {
  variables {
    aws_login           = null
    nomad_login         = null
    consul_secrets      = null
    nomad_secrets       = null
    autoscaler_pki_role = null
  }

  assert {
    condition     = length(vault_auth_backend.aws) == 0 && length(vault_jwt_auth_backend.nomad) == 0 && length(vault_consul_secret_backend_role.node) == 0 && length(vault_nomad_secret_role.node) == 0 && length(vault_policy.autoscaler) == 0
    error_message = "The nodes' policy alone."
  }
}

run "sys_is_refused" {
  command = plan

  variables {
    secrets = ["sys/policies/acl/*"]
  }

  expect_failures = [var.secrets]
}

run "any_role_is_refused" {
  command = plan

  variables {
    aws_login = { node_role_arns = ["arn:aws:iam::123456789012:role/*"], server_id = "vault.example.com" }
  }

  expect_failures = [var.aws_login]
}

run "a_login_that_is_bound_to_no_vault_is_refused" {
  command = plan

  variables {
    aws_login = { node_role_arns = ["arn:aws:iam::123456789012:role/node"], server_id = "" }
  }

  expect_failures = [var.aws_login]
}

run "nomads_client_and_who_asks_for_names_have_tokens_of_their_own_where_they_are_named" {
  variables {
    consul_secrets = { policy = "muster-node", client_policy = "muster-client", names_policy = "muster-names" }
  }

  assert {
    condition     = { for role in vault_consul_secret_backend_role.others : role.name => tolist(role.consul_policies) } == { muster-node-client = tolist(["muster-client"]), muster-node-names = tolist(["muster-names"]) }
    error_message = "A role of each policy alone."
  }

  assert {
    condition     = strcontains(vault_policy.node.policy, "path \"consul/creds/muster-node-client\"") && strcontains(vault_policy.node.policy, "path \"consul/creds/muster-node-names\"")
    error_message = "A node may have it."
  }
}

run "engines_at_no_path_are_refused" {
  command = plan

  variables {
    consul_secrets = { policy = "muster-node", mount = "/consul" }
    nomad_secrets  = { policy = "muster-node", mount = "nomad/" }
  }

  expect_failures = [var.consul_secrets, var.nomad_secrets]
}

run "policies_that_are_none_are_refused" {
  command = plan

  variables {
    consul_secrets = { policy = "muster-node", names_policy = "*" }
    nomad_secrets  = { policy = "" }
  }

  expect_failures = [var.consul_secrets, var.nomad_secrets]
}
