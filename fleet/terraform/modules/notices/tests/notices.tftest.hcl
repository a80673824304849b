mock_provider "aws" {}

override_resource {
  target = aws_sqs_queue.notices
  values = { id = "https://sqs.eu-west-1.amazonaws.com/123456789012/muster-notices", url = "https://sqs.eu-west-1.amazonaws.com/123456789012/muster-notices", arn = "arn:aws:sqs:eu-west-1:123456789012:muster-notices" }
}

override_resource {
  target = aws_sqs_queue.dead_letters
  values = { id = "https://sqs.eu-west-1.amazonaws.com/123456789012/muster-notices-dead-letters", arn = "arn:aws:sqs:eu-west-1:123456789012:muster-notices-dead-letters" }
}

run "both_queues_are_encrypted" {
  assert {
    condition     = aws_sqs_queue.notices.sqs_managed_sse_enabled && aws_sqs_queue.dead_letters.sqs_managed_sse_enabled
    error_message = "By SQS's own keys, where no other is given."
  }
}

run "what_cannot_be_read_goes_to_the_dead_letters" {
  assert {
    condition     = jsondecode(aws_sqs_queue.notices.redrive_policy) == { deadLetterTargetArn = aws_sqs_queue.dead_letters.arn, maxReceiveCount = 5 }
    error_message = "After five receives."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_redrive_allow_policy.dead_letters.redrive_allow_policy).sourceQueueArns == [aws_sqs_queue.notices.arn]
    error_message = "Of this queue alone."
  }
}

run "exactly_the_rules_may_send" {
  assert {
    condition     = alltrue([for policy in aws_sqs_queue_policy.this : [for statement in jsondecode(policy.policy).Statement : statement.Sid if statement.Effect == "Allow"] == ["Rules"]])
    error_message = "Nobody else is allowed anything."
  }

  assert {
    condition = alltrue([
      for name, policy in aws_sqs_queue_policy.this :
      jsondecode(policy.policy).Statement[0].Condition == { ArnEquals = { "aws:SourceArn" = [for rule in aws_cloudwatch_event_rule.this : rule.arn] } }
      && jsondecode(policy.policy).Statement[0].Action == "sqs:SendMessage"
      && jsondecode(policy.policy).Statement[0].Principal == { Service = "events.amazonaws.com" }
    ])
    error_message = "EventBridge, for these rules, to send."
  }

  assert {
    condition     = alltrue([for policy in aws_sqs_queue_policy.this : jsondecode(policy.policy).Statement[1].Effect == "Deny" && jsondecode(policy.policy).Statement[1].Condition.Bool["aws:SecureTransport"] == "false"])
    error_message = "Over TLS."
  }
}

# What fleet/notices reads.
run "every_kind_of_event_that_is_read_has_a_rule" {
  assert {
    condition = { for name, rule in aws_cloudwatch_event_rule.this : name => jsondecode(rule.event_pattern) } == {
      spot-interruption = { source = ["aws.ec2"], "detail-type" = ["EC2 Spot Instance Interruption Warning"] }
      rebalance         = { source = ["aws.ec2"], "detail-type" = ["EC2 Instance Rebalance Recommendation"] }
      state-change      = { source = ["aws.ec2"], "detail-type" = ["EC2 Instance State-change Notification"] }
      scheduled-event   = { source = ["aws.health"], "detail-type" = ["AWS Health Event"], detail = { service = ["EC2"], eventTypeCategory = ["scheduledChange"] } }
      spot-fleet        = { source = ["aws.ec2spotfleet"] }
      ec2-fleet         = { source = ["aws.ec2fleet"] }
    }
    error_message = "No more, no less."
  }

  assert {
    condition     = length(aws_cloudwatch_event_target.this) == 6 && alltrue([for target in aws_cloudwatch_event_target.this : target.arn == aws_sqs_queue.notices.arn && target.dead_letter_config[0].arn == aws_sqs_queue.dead_letters.arn && target.retry_policy[0].maximum_event_age_in_seconds == 180])
    error_message = "Each rule fills the queue, for three minutes, and what is not delivered is kept."
  }
}

run "a_key_of_ones_own" {
  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition     = alltrue([for queue in [aws_sqs_queue.notices, aws_sqs_queue.dead_letters] : queue.kms_master_key_id == var.kms_key_arn])
    error_message = "For both queues."
  }
}

run "an_alias_is_no_key" {
  command = plan

  variables {
    kms_key_arn = "alias/muster"
  }

  expect_failures = [var.kms_key_arn]
}

run "a_name_that_leaves_no_room_for_the_rules_is_refused" {
  command = plan

  variables {
    name = "a-queue-whose-name-is-longer-than-what-rules-take"
  }

  expect_failures = [var.name]
}

run "tags_of_aws_are_refused" {
  command = plan

  variables {
    tags = { "aws:owner" = "us" }
  }

  expect_failures = [var.tags]
}
