terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
    consul = {
      source  = "hashicorp/consul"
      version = "~> 2.22"
    }
    nomad = {
      source  = "hashicorp/nomad"
      version = "~> 2.5"
    }
    vault = {
      source  = "hashicorp/vault"
      version = "~> 5.6"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { service = "muster" }
  }
}

# Addresses and tokens are in the environment: CONSUL_HTTP_ADDR, NOMAD_ADDR, VAULT_ADDR and theirs.
provider "consul" {}

provider "nomad" {}

provider "vault" {}
