mock_provider "aws" {}

variables {
  subnet_ids         = ["subnet-0a", "subnet-0b"]
  security_group_ids = ["sg-0a"]
  image_id           = "ami-0123456789abcdef0"
}

run "it_is_planned" {
  command = plan

  assert {
    condition     = length(output.muster_policies) == 1
    error_message = "The fleet has its policy."
  }
}

run "what_is_no_fleet_is_refused" {
  command = plan

  variables {
    region             = "Ireland"
    name               = "w"
    subnet_ids         = ["subnet-0a"]
    security_group_ids = []
    image_id           = "resolve:ssm:/muster/images/stable"
    operators          = ["arn:aws:iam::123456789012:role/*"]
  }

  expect_failures = [var.region, var.name, var.subnet_ids, var.security_group_ids, var.image_id, var.operators]
}
