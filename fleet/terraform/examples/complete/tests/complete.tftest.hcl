mock_provider "aws" {}

mock_provider "consul" {}

mock_provider "nomad" {}

mock_provider "vault" {}

variables {
  subnet_ids        = ["subnet-0a", "subnet-0b"]
  vpc_id            = "vpc-0a"
  vpc_cidr          = "10.0.0.0/16"
  image_id          = "ami-0123456789abcdef0"
  consul_join       = ["consul.example.com"]
  nomad_address     = "https://nomad.example.com:4646"
  nomad_oidc_issuer = "https://nomad.example.com"
  vault_address     = "https://vault.example.com:8200"
  vault_server_id   = "vault.example.com"
}

run "it_is_planned" {
  command = plan

  variables {
    pipeline_role_arns = ["arn:aws:iam::123456789012:role/pipeline"]
    alarm_actions      = ["arn:aws:sns:eu-west-1:123456789012:pager"]
  }

  assert {
    condition     = length(output.muster_policies) == 2
    error_message = "Each fleet has its policy."
  }
}

run "what_is_no_place_is_refused" {
  command = plan

  variables {
    region     = "Ireland"
    vpc_id     = "default"
    vpc_cidr   = "10.0.0.0"
    subnet_ids = ["subnet-0a", "subnet-0a"]
    image_id   = "debian-12"
  }

  expect_failures = [var.region, var.vpc_id, var.vpc_cidr, var.subnet_ids, var.image_id]
}

run "what_is_nobodys_address_is_refused" {
  command = plan

  variables {
    consul_join        = []
    nomad_address      = "https://nomad.example.com:4646/"
    nomad_oidc_issuer  = "http://nomad.example.com"
    vault_address      = "vault.example.com"
    vault_server_id    = "https://vault.example.com"
    awx_key_version    = 0.5
    pipeline_role_arns = ["pipeline"]
    alarm_actions      = ["pager"]
  }

  expect_failures = [var.consul_join, var.nomad_address, var.nomad_oidc_issuer, var.vault_address, var.vault_server_id, var.awx_key_version, var.pipeline_role_arns, var.alarm_actions]
}
