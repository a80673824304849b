mock_provider "aws" {}

variables {
  queue_name             = "muster-notices"
  dead_letter_queue_name = "muster-notices-dead-letters"
  rule_names             = ["muster-notices-rebalance", "muster-notices-spot-interruption"]
  spot_fleets            = { web = { id = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5", max = 20 } }
  alarm_actions          = ["arn:aws:sns:eu-west-1:123456789012:pager"]
}

run "everything_has_its_alarm" {
  assert {
    condition = output.alarm_names == tolist([
      "muster-dead-letters", "muster-leader-silent", "muster-notices-late",
      "muster-notices-rebalance-undelivered", "muster-notices-spot-interruption-undelivered",
      "web-at-maximum", "web-below-target", "web-hot",
    ])
    error_message = "These and no others."
  }

  assert {
    condition     = alltrue([for alarm in [aws_cloudwatch_metric_alarm.leader_silent[0], aws_cloudwatch_metric_alarm.notices_late[0], aws_cloudwatch_metric_alarm.dead_letters[0], aws_cloudwatch_metric_alarm.below_target["web"], aws_cloudwatch_metric_alarm.at_maximum["web"], aws_cloudwatch_metric_alarm.hot["web"]] : alarm.alarm_actions == toset(var.alarm_actions) && alarm.ok_actions == toset(var.alarm_actions)])
    error_message = "Beginning and end are told."
  }
}

run "silence_is_an_alarm" {
  assert {
    condition     = aws_cloudwatch_metric_alarm.leader_silent[0].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.leader_silent[0].evaluation_periods == 5
    error_message = "A queue that nobody asks has no points."
  }

  assert {
    condition     = { for query in aws_cloudwatch_metric_alarm.leader_silent[0].metric_query : query.id => try(query.metric[0].metric_name, query.expression) } == { asked = "FILL(empty, 0) + FILL(received, 0)", empty = "NumberOfEmptyReceives", received = "NumberOfMessagesReceived" }
    error_message = "Asked is asked, whether there was something or not."
  }
}

run "a_fleet_is_told_by_its_request" {
  assert {
    condition     = aws_cloudwatch_metric_alarm.hot["web"].dimensions == tomap({ FleetRequestId = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5" }) && aws_cloudwatch_metric_alarm.hot["web"].threshold == 90
    error_message = "Metrics of a Spot Fleet are by its request."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.at_maximum["web"].threshold == 20
    error_message = "The most that it may have."
  }

  assert {
    condition     = { for query in aws_cloudwatch_metric_alarm.below_target["web"].metric_query : query.id => try(query.metric[0].stat, query.expression) } == { lack = "target - fulfilled", target = "Minimum", fulfilled = "Maximum" }
    error_message = "Less than the least target of five minutes, at its best."
  }
}

run "without_a_queue_there_is_nothing_to_watch" {
  variables {
    queue_name             = null
    dead_letter_queue_name = null
    rule_names             = []
    spot_fleets            = {}
  }

  assert {
    condition     = length(output.alarm_names) == 0
    error_message = "No alarms."
  }
}

run "a_fleet_may_have_something" {
  command = plan

  variables {
    spot_fleets = { web = { id = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5", max = 0 } }
  }

  expect_failures = [var.spot_fleets]
}

run "addresses_for_names_are_refused" {
  command = plan

  variables {
    queue_name             = "https://sqs.eu-west-1.amazonaws.com/123456789012/muster-notices"
    dead_letter_queue_name = "arn:aws:sqs:eu-west-1:123456789012:muster-notices-dead-letters"
    rule_names             = ["arn:aws:events:eu-west-1:123456789012:rule/muster-notices-rebalance"]
  }

  expect_failures = [var.queue_name, var.dead_letter_queue_name, var.rule_names]
}

run "what_is_no_alarm_is_refused" {
  command = plan

  variables {
    name          = "muster alarms"
    alarm_actions = ["pager"]
    hot_cpu       = 5
    tags          = { "aws:owner" = "us" }
  }

  expect_failures = [var.name, var.alarm_actions, var.hot_cpu, var.tags]
}
