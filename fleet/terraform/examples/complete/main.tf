/**
 * # complete
 *
 * The whole: two fleets of either kind, the queue, the roles, what Nomad, Consul and Vault have to know, the agents'
 * configuration and the alarms. `modules` that belong to AWS alone can be applied without the rest.
 */

locals {
  fleets   = { web = "spot_fleet", batch = "ec2_fleet" }
  jwks_url = "${var.nomad_address}/.well-known/jwks.json"
  # Where Nomad's jobs log in to Vault: its clients have to know it, too.
  nomad_mount = "jwt-nomad"

  # A client asks who somebody is before it shows anything of its allocations, and has Vault give jobs their secrets.
  nomad_client = jsonencode({
    acl   = { enabled = true }
    vault = { enabled = true, address = var.vault_address, jwt_auth_backend_path = local.nomad_mount }
  })

  # What the agents of each fleet are told, beside what their image knows: Nomad's servers are found through Consul. Where these
  # ask for tokens, a `vault` block has the nodes fetch theirs.
  fragments = {
    for name in keys(local.fleets) : name => {
      "15-consul" = <<-HCL
        consul {
          join = ${jsonencode(var.consul_join)}
        }
      HCL
      "20-nomad"  = <<-HCL
        nomad {
          node_pool  = "${name}"
          node_class = "spot"
          extra      = ${jsonencode(local.nomad_client)}
        }
      HCL
      "30-ready"  = <<-HCL
        ready {
          tag = "muster:state"
        }
      HCL
    }
  }
}

# Nodes answer each other and their neighbours in the VPC; narrow it to where AWX, Prometheus and the servers are.
resource "aws_security_group" "nodes" {
  name        = "muster-nodes"
  description = "Nodes of the fleets"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.nodes.id
  description       = "AWS, the registry, Vault"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "inside" {
  security_group_id = aws_security_group.nodes.id
  description       = "Consul, Nomad, AWX and each other"
  cidr_ipv4         = var.vpc_cidr
  ip_protocol       = "-1"
}

locals {
  # What a node listens on for others: ports, protocol, who asks.
  answers = {
    ssh       = { ports = [22, 22], protocol = "tcp", why = "AWX" }
    serf_tcp  = { ports = [8301, 8301], protocol = "tcp", why = "Gossip of Consul" }
    serf_udp  = { ports = [8301, 8301], protocol = "udp", why = "Gossip of Consul" }
    nomad     = { ports = [4646, 4646], protocol = "tcp", why = "Servers and users of Nomad: logs, metrics" }
    exporters = { ports = [9100, 9100], protocol = "tcp", why = "Prometheus" }
    work      = { ports = [20000, 32000], protocol = "tcp", why = "What Nomad places, by its dynamic ports" }
  }
}

resource "aws_vpc_security_group_ingress_rule" "inside" {
  for_each = local.answers

  security_group_id = aws_security_group.nodes.id
  description       = each.value.why
  cidr_ipv4         = var.vpc_cidr
  from_port         = each.value.ports[0]
  to_port           = each.value.ports[1]
  ip_protocol       = each.value.protocol
}

module "notices" {
  source = "../../modules/notices"
}

module "iam" {
  source = "../../modules/iam"

  fleets          = keys(local.fleets)
  parameter_paths = [for name in keys(local.fleets) : "/muster/${name}"]
  queue_arns      = [module.notices.queue_arn]
  ready_tag       = "muster:state"
  # Only where EC2 is asked who they are.
  consul_auto_join = anytrue([for at in var.consul_join : startswith(at, "provider=aws ")])
  nomad_oidc       = { issuer = var.nomad_oidc_issuer }
  image_builder    = length(var.pipeline_role_arns) == 0 ? null : { trusted_role_arns = var.pipeline_role_arns }
}

module "fleet" {
  source   = "../../modules/fleet"
  for_each = local.fleets

  name                 = each.key
  backend              = each.value
  instance_types       = { "m6i.large" = 1, "m6a.large" = 1, "c6i.large" = 1, "c6a.xlarge" = 2 }
  subnet_ids           = var.subnet_ids
  security_group_ids   = [aws_security_group.nodes.id]
  image_id             = var.image_id
  instance_profile_arn = module.iam.node_instance_profile_arn
  fleet_role_arn       = each.value == "spot_fleet" ? module.iam.fleet_role_arn : null
  capacity             = { min = 1, max = 20 }
  target_cpu           = 75

  policy_blocks = <<-HCL
    workload {
      kind = "spreads"
    }
  HCL
}

module "parameters" {
  source   = "../../modules/parameters"
  for_each = local.fleets

  fleet    = each.key
  path     = module.fleet[each.key].configuration_path
  policies = { (each.key) = module.fleet[each.key].policy }

  awx_key         = var.awx_key
  awx_key_version = var.awx_key_version

  fragments = local.fragments[each.key]
}

module "nomad" {
  source = "../../modules/nomad"

  fleet_pools = keys(local.fleets)
}

module "consul" {
  source = "../../modules/consul"

  auth_method = { jwks_url = local.jwks_url }
}

module "vault" {
  source = "../../modules/vault"

  aws_login = {
    node_role_arns = [module.iam.node_role_arn]
    server_id      = var.vault_server_id
  }
  nomad_login         = { mount = local.nomad_mount, jwks_url = local.jwks_url }
  secrets             = ["kv/data/node/*"]
  consul_secrets      = { policy = module.consul.node_policy, client_policy = module.consul.client_policy, names_policy = module.consul.names_policy }
  nomad_secrets       = { policy = module.nomad.node_policy }
  autoscaler_pki_role = "pki/issue/muster"
}

module "alarms" {
  source = "../../modules/alarms"

  alarm_actions          = var.alarm_actions
  queue_name             = module.notices.queue_name
  dead_letter_queue_name = module.notices.dead_letter_queue_name
  rule_names             = module.notices.rule_names
  spot_fleets            = { web = { id = module.fleet["web"].id, max = 20 } }
}
