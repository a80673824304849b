/**
 * # consul
 *
 * What muster needs in Consul: an auth method that trusts what Nomad signs, the rights of the autoscaler's job, and the
 * rights of the nodes' agents.
 *
 * * The policies are the files that the programs ship with (`autoscaler/nomad/job`, `bootstrap/policies`): this module reads
 *   them where they are, and has no copy.
 * * Jobs have no token of their own: Nomad exchanges their identity for one, by this auth method. It is what
 *   `nomad setup consul` makes; where that was done, set `auth_method.create = false`.
 * * **What a node may do to others.** The shipped policy is for one node, by its instance's id. Neither Terraform nor
 *   Vault's Consul secrets engine knows that id before the instance is there, so the rule for its own node becomes one for
 *   all nodes whose names begin with `node_prefix`: a node of a fleet can write another one's entry. Where tokens are made
 *   for each instance, put its id in place of INSTANCE in the file, and set `node_prefix = null` here.
 * * Nomad's client of a node has a token of its own (`client_policy_name`): it looks at the checks of its work, or no deployment
 *   of a service with a check is ever healthy; and it takes services out again, or what has ended is asked for ever.
 * * Who asks a node's agent without a token, every process of the node, looks names up (`names_policy_name`).
 */

locals {
  # The repository, as a whole: a module that is fetched from it by `git::...//fleet/terraform/modules/consul` comes with it.
  repository = "${path.module}/../../../.."
  shipped = {
    autoscaler = file("${local.repository}/autoscaler/nomad/job/consul-policy.hcl")
    node       = file("${local.repository}/bootstrap/policies/consul.hcl")
    client     = file("${local.repository}/bootstrap/policies/consul-nomad.hcl")
    names      = file("${local.repository}/bootstrap/policies/consul-names.hcl")
  }

  # Sessions by the nodes that the job runs on, where these are named.
  sessions         = join("\n", [for prefix in var.autoscaler_node_prefixes : "session_prefix \"${prefix}\" {\n  policy = \"write\"\n}"])
  autoscaler_rules = replace(local.shipped.autoscaler, "session_prefix \"\" {\n  policy = \"write\"\n}", local.sessions)
  # The ledger of several sets of autoscalers in one Consul.
  rules = replace(local.autoscaler_rules, "key_prefix \"muster-autoscaler/\"", "key_prefix \"${var.key_prefix}/\"")

  node_rules = replace(local.shipped.node, "/(node|agent) \"INSTANCE\"/", "$${1}_prefix \"${coalesce(var.node_prefix, "i-")}\"")

  auth_method = var.auth_method.create ? one(consul_acl_auth_method.nomad[*].name) : var.auth_method.name
}

resource "consul_acl_auth_method" "nomad" {
  count = var.auth_method.create ? 1 : 0

  name          = var.auth_method.name
  type          = "jwt"
  display_name  = "Nomad workloads"
  description   = "Trusts the identities that Nomad signs for tasks and services"
  max_token_ttl = var.auth_method.max_token_ttl

  config_json = jsonencode(merge(
    {
      JWKSURL          = var.auth_method.jwks_url
      JWTSupportedAlgs = ["RS256"]
      BoundAudiences   = ["consul.io"]
      ClaimMappings = {
        nomad_namespace = "nomad_namespace"
        nomad_job_id    = "nomad_job_id"
        nomad_task      = "nomad_task"
        nomad_service   = "nomad_service"
      }
    },
    var.auth_method.jwks_ca_cert == null ? {} : { JWKSCACert = var.auth_method.jwks_ca_cert },
  ))
}

# Nomad registers services as themselves.
resource "consul_acl_binding_rule" "services" {
  count = var.auth_method.create ? 1 : 0

  auth_method = local.auth_method
  description = "Services of Nomad jobs"
  bind_type   = "service"
  bind_name   = "$${value.nomad_service}"
  selector    = "\"nomad_service\" in value"
}

resource "consul_acl_policy" "autoscaler" {
  name        = var.job.name
  description = "muster-autoscaler: its lock, its ledger, its proof of life"
  rules       = local.rules
}

resource "consul_acl_role" "autoscaler" {
  name        = var.job.name
  description = "The Nomad job ${var.job.name} of the namespace ${var.job.namespace}"
  policies    = [consul_acl_policy.autoscaler.id]
}

resource "consul_acl_binding_rule" "autoscaler" {
  auth_method = local.auth_method
  description = "The Nomad job ${var.job.name} of the namespace ${var.job.namespace}"
  bind_type   = "role"
  bind_name   = consul_acl_role.autoscaler.name
  # Its task; its services are themselves.
  selector = "\"nomad_service\" not in value and value.nomad_job_id == \"${var.job.name}\" and value.nomad_namespace == \"${var.job.namespace}\""
}

resource "consul_acl_policy" "node" {
  count = var.node_prefix == null ? 0 : 1

  name        = var.node_policy_name
  description = "muster-bootstrap: the nodes of the fleets"
  rules       = local.node_rules
}

resource "consul_acl_policy" "client" {
  name        = var.client_policy_name
  description = "Nomad's clients on the nodes of the fleets"
  rules       = local.shipped.client
}

resource "consul_acl_policy" "names" {
  name        = var.names_policy_name
  description = "Who asks the agents of the fleets' nodes for names"
  rules       = local.shipped.names
}
