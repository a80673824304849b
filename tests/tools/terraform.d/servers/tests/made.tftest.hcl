# What only a server knows, ids and accessors, is a word of the mock's here.
mock_provider "aws" {}

mock_provider "consul" {}

mock_provider "nomad" {}

mock_provider "vault" {}

run "made" {}
