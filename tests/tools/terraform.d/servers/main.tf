# What served.py has made: the modules for Nomad, Consul and Vault, as examples/complete has them; and whom AWS trusts.

terraform {
  required_providers {
    aws    = { source = "hashicorp/aws" }
    consul = { source = "hashicorp/consul" }
    nomad  = { source = "hashicorp/nomad" }
    vault  = { source = "hashicorp/vault" }
  }
}

variable "jwks_url" {
  description = "Where Nomad's keys are."
  type        = string
}

module "nomad" {
  source = "../../../../fleet/terraform/modules/nomad"

  fleet_pools       = ["web"]
  scaled_namespaces = ["default"]
}

module "consul" {
  source = "../../../../fleet/terraform/modules/consul"

  auth_method = { jwks_url = var.jwks_url }
}

module "vault" {
  source = "../../../../fleet/terraform/modules/vault"

  aws_login = {
    node_role_arns     = ["arn:aws:iam::123456789012:role/muster-node"]
    server_id          = "vault.example.com"
    resolve_unique_ids = false
  }
  nomad_login         = { jwks_url = var.jwks_url }
  secrets             = ["kv/data/node/*"]
  consul_secrets      = { policy = "muster-node" }
  nomad_secrets       = { policy = "muster-node" }
  autoscaler_pki_role = "pki/issue/muster"
}

module "iam" {
  source = "../../../../fleet/terraform/modules/iam"

  fleets          = ["web"]
  parameter_paths = ["/muster/web"]
  nomad_oidc      = { issuer = "https://nomad.example.com" }
}
