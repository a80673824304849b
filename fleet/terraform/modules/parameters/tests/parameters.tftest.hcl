mock_provider "aws" {}

variables {
  fleet = "web"
  path  = "/muster/web"
  # Written only where there is a version of it.
  awx_key = "k3y"
}

run "agents_learn_their_fleet" {
  assert {
    condition     = { for name, parameter in aws_ssm_parameter.fragment : parameter.name => parameter.value } == { "/muster/web/10-fleet" = "watch {\n  autoscaler {\n    fleet = \"web\"\n    service = \"muster-autoscaler\"\n  }\n}\n" }
    error_message = "One fragment, which says whom they tell."
  }

  assert {
    condition     = alltrue([for parameter in aws_ssm_parameter.fragment : parameter.type == "String"])
    error_message = "The agent leaves SecureStrings out."
  }

  assert {
    condition     = output.awx_key_name == null && output.policy_names == {}
    error_message = "Nothing else."
  }
}

run "fragments_and_policies_are_kept" {
  variables {
    autoscaler_addresses = ["https://autoscaler.example.com:7575"]
    fragments            = { "20-nomad" = "nomad {\n}\n" }
    policies             = { web = "fleet \"web\" {\n}\n" }
  }

  assert {
    condition     = output.fragment_names == tolist(["/muster/web/10-fleet", "/muster/web/20-nomad"])
    error_message = "In the order in which they are read."
  }

  assert {
    condition     = strcontains(aws_ssm_parameter.fragment["10-fleet"].value, "addresses = [\"https://autoscaler.example.com:7575\"]")
    error_message = "Addresses stand in place of the service."
  }

  assert {
    condition     = output.policy_names == { web = "/muster-autoscaler/policies/web" } && aws_ssm_parameter.policy["web"].value == "fleet \"web\" {\n}\n"
    error_message = "Beside the agents' path, not beneath."
  }
}

run "the_key_of_awx_is_written_and_not_kept" {
  variables {
    awx_key_version = 1
  }

  assert {
    condition     = aws_ssm_parameter.awx_key[0].name == "/muster/web/awx-key" && aws_ssm_parameter.awx_key[0].type == "SecureString" && aws_ssm_parameter.awx_key[0].value_wo == null && aws_ssm_parameter.awx_key[0].value_wo_version == 1
    error_message = "A SecureString whose value is in no state."
  }
}

run "a_key_that_has_a_version_is_given" {
  command = plan

  variables {
    awx_key         = null
    awx_key_version = 2
  }

  expect_failures = [var.awx_key_version]
}

run "a_path_ends_without_a_slash" {
  command = plan

  variables {
    path = "/muster/web/"
  }

  expect_failures = [var.path]
}

run "a_fragment_is_not_too_large" {
  command = plan

  variables {
    fragments = { "20-large" = join("", [for _ in range(1000) : "123456789"]) }
  }

  expect_failures = [var.fragments]
}

run "tags_of_aws_are_refused" {
  command = plan

  variables {
    tags = { "aws:owner" = "us" }
  }

  expect_failures = [var.tags]
}
