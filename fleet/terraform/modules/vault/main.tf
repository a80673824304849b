/**
 * # vault
 *
 * What muster needs in Vault: the login of nodes by their instances' role (AWS IAM), an auth method that trusts what Nomad
 * signs, and what each of them may read.
 *
 * * A node proves itself to STS, and Vault asks STS: nothing secret is on it before. Set `server_id`, so that nobody can
 *   use a login that was seen at another Vault.
 * * Its token may read what its templates name (`secrets`), have certificates of `pki_roles`, and tokens of Consul and Nomad
 *   of the roles here: leases of the node's own token, which end with it. It may not look at `sys/`.
 * * Jobs log in with their identities. Each may read `kv/data/NAMESPACE/JOB/*` (`workload_mount`); the autoscaler only has
 *   the certificate that nodes meet it with. `nomad setup vault` makes the same, but has jobs of one name be one entity,
 *   whatever their namespaces ([nomad#23510](https://github.com/hashicorp/nomad/issues/23510)): what its policy lets one of them
 *   read is what the last that logged in may.
 * * The engines themselves (kv, pki, consul, nomad) are yours: they hold keys that are in no plan.
 */

locals {
  # Roles of Consul beside the agent's own, each with its policy.
  consul_others = { for name, policy in {
    client = try(var.consul_secrets.client_policy, null)
    names  = try(var.consul_secrets.names_policy, null)
  } : name => policy if policy != null }

  node_rules = templatefile("${path.module}/node-policy.hcl.tftpl", {
    secrets   = var.secrets
    pki_roles = var.pki_roles
    creds = concat(
      var.consul_secrets == null ? [] : ["${var.consul_secrets.mount}/creds/${var.node_name}"],
      [for name in keys(local.consul_others) : "${var.consul_secrets.mount}/creds/${var.node_name}-${name}"],
      var.nomad_secrets == null ? [] : ["${var.nomad_secrets.mount}/creds/${var.node_name}"],
    )
  })
}

resource "vault_policy" "node" {
  name   = var.node_name
  policy = local.node_rules
}

resource "vault_auth_backend" "aws" {
  count = var.aws_login == null ? 0 : 1

  type        = "aws"
  path        = var.aws_login.mount
  description = "Nodes of muster's fleets, by their instances' role"
}

resource "vault_aws_auth_backend_client" "this" {
  count = length(vault_auth_backend.aws)

  backend                    = vault_auth_backend.aws[0].path
  iam_server_id_header_value = var.aws_login.server_id
  sts_endpoint               = var.aws_login.sts_endpoint
  sts_region                 = var.aws_login.sts_region
}

resource "vault_aws_auth_backend_role" "node" {
  count = length(vault_auth_backend.aws)

  backend                  = vault_auth_backend.aws[0].path
  role                     = var.node_name
  auth_type                = "iam"
  bound_iam_principal_arns = var.aws_login.node_role_arns
  # With it, Vault itself needs iam:GetRole; without, a role that is made anew under its name is the same.
  resolve_aws_unique_ids = var.aws_login.resolve_unique_ids
  token_policies         = [vault_policy.node.name]
  token_ttl              = 3600
  token_max_ttl          = 86400
}

resource "vault_consul_secret_backend_role" "node" {
  count = var.consul_secrets == null ? 0 : 1

  backend         = var.consul_secrets.mount
  name            = var.node_name
  consul_policies = [var.consul_secrets.policy]
  ttl             = 3600
  max_ttl         = 86400
}

resource "vault_consul_secret_backend_role" "others" {
  for_each = local.consul_others

  backend         = var.consul_secrets.mount
  name            = "${var.node_name}-${each.key}"
  consul_policies = [each.value]
  ttl             = 3600
  max_ttl         = 86400
}

# Or a role would be made and removed under one name, in any order.
moved {
  from = vault_consul_secret_backend_role.client[0]
  to   = vault_consul_secret_backend_role.others["client"]
}

resource "vault_nomad_secret_role" "node" {
  count = var.nomad_secrets == null ? 0 : 1

  backend  = var.nomad_secrets.mount
  role     = var.node_name
  type     = "client"
  policies = [var.nomad_secrets.policy]
}

resource "vault_jwt_auth_backend" "nomad" {
  count = var.nomad_login == null ? 0 : 1

  path               = var.nomad_login.mount
  type               = "jwt"
  description        = "Nomad's jobs, by the identities that Nomad signs"
  jwks_url           = var.nomad_login.jwks_url
  jwks_ca_pem        = var.nomad_login.jwks_ca_pem
  jwt_supported_algs = ["RS256", "EdDSA"]
  default_role       = "nomad-workloads"
}

locals {
  jwt_role = {
    role_type       = "jwt"
    bound_audiences = ["vault.io"]
    # The entity of Vault is the task, whatever its allocations. By the job's name alone jobs of two namespaces would be one entity,
    # whose metadata are those of who logged in last: each would read the other's secrets.
    user_claim = "sub"
    claim_mappings = {
      nomad_namespace = "nomad_namespace"
      nomad_job_id    = "nomad_job_id"
      nomad_task      = "nomad_task"
    }
  }
}

resource "vault_policy" "workloads" {
  count = length(vault_jwt_auth_backend.nomad)

  name = "nomad-workloads"
  policy = templatefile("${path.module}/workload-policy.hcl.tftpl", {
    accessor = vault_jwt_auth_backend.nomad[0].accessor
    mount    = var.nomad_login.workload_mount
  })
}

resource "vault_jwt_auth_backend_role" "workloads" {
  count = length(vault_jwt_auth_backend.nomad)

  backend         = vault_jwt_auth_backend.nomad[0].path
  role_name       = "nomad-workloads"
  role_type       = local.jwt_role.role_type
  bound_audiences = local.jwt_role.bound_audiences
  user_claim      = local.jwt_role.user_claim
  claim_mappings  = local.jwt_role.claim_mappings
  token_type      = "service"
  token_policies  = [vault_policy.workloads[0].name]
  # Nomad renews it for as long as the allocation lives.
  token_period           = 1800
  token_explicit_max_ttl = 0
}

resource "vault_policy" "autoscaler" {
  count = var.autoscaler_pki_role == null ? 0 : length(vault_jwt_auth_backend.nomad)

  name   = var.job.name
  policy = <<-HCL
    # muster-autoscaler: the certificate that nodes meet it with.
    path "${var.autoscaler_pki_role}" {
      capabilities = ["update"]
    }
  HCL
}

resource "vault_jwt_auth_backend_role" "autoscaler" {
  count = length(vault_policy.autoscaler)

  backend                = vault_jwt_auth_backend.nomad[0].path
  role_name              = var.job.name
  role_type              = local.jwt_role.role_type
  bound_audiences        = local.jwt_role.bound_audiences
  bound_claims           = { nomad_namespace = var.job.namespace, nomad_job_id = var.job.name }
  user_claim             = local.jwt_role.user_claim
  claim_mappings         = local.jwt_role.claim_mappings
  token_type             = "service"
  token_policies         = [vault_policy.autoscaler[0].name]
  token_period           = 1800
  token_explicit_max_ttl = 0
}
