/**
 * # alarms
 *
 * CloudWatch alarms for what the autoscaler itself cannot tell: that it is gone, that it is not heard, that the fleet does
 * not get what it asks for. What it can tell is in Prometheus, with the rules of autoscaler/prometheus; have both.
 *
 * | alarm | when | what to do |
 * |---|---|---|
 * | `leader-silent` | nobody has asked the queue for five minutes: it is read without a pause by whoever leads | is the job running, and does anybody lead? `muster-autoscaler status`; Nomad's allocations; Consul |
 * | `notices-late` | a notice waits for more than a minute | the same; then the log for what is received and not deleted |
 * | `dead-letters` | a notice could not be read five times, or not be delivered | read it: an event that is not known yet, or the queue's policy |
 * | `events-undelivered` | EventBridge could not put an event into the queue | the queue's policy, the key's policy |
 * | `FLEET-below-target` | a Spot Fleet has had less than its target for 15 minutes | `muster-autoscaler explain FLEET`: pools that are dry, a template that cannot be launched, a quota |
 * | `FLEET-at-maximum` | its target has been its maximum for an hour | raise `capacity.max`, or find out what asks for so much |
 * | `FLEET-hot` | its CPU has been above 90 % for 15 minutes, whoever scales it | as above; `docs/operations.md` |
 *
 * EC2 Fleets have no metrics of their own in CloudWatch: for them the last three are Prometheus's
 * (`muster_fleet_fulfilled_units`, `muster_fleet_target_units`, `muster_fleet_utilization_ratio`).
 */

locals {
  # Metrics of a Spot Fleet are by its request.
  fleet_metrics = {
    for name, fleet in var.spot_fleets : name => {
      namespace  = "AWS/EC2Spot"
      dimensions = { FleetRequestId = fleet.id }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "leader_silent" {
  count = var.queue_name == null ? 0 : 1

  alarm_name          = "${var.name}-leader-silent"
  alarm_description   = "Nobody reads the queue of notices: no autoscaler leads."
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  evaluation_periods  = 5
  datapoints_to_alarm = 5
  # A queue that nobody asks has no points at all.
  treat_missing_data = "breaching"
  alarm_actions      = var.alarm_actions
  ok_actions         = var.alarm_actions
  tags               = var.tags

  metric_query {
    id          = "asked"
    expression  = "FILL(empty, 0) + FILL(received, 0)"
    label       = "Receives"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { empty = "NumberOfEmptyReceives", received = "NumberOfMessagesReceived" }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/SQS"
        metric_name = metric_query.value
        dimensions  = { QueueName = var.queue_name }
        period      = 60
        stat        = "Sum"
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "notices_late" {
  count = var.queue_name == null ? 0 : 1

  alarm_name          = "${var.name}-notices-late"
  alarm_description   = "A notice has waited for more than a minute: half of an interruption's time."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = var.queue_name }
  comparison_operator = "GreaterThanThreshold"
  threshold           = 60
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  count = var.dead_letter_queue_name == null ? 0 : 1

  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "A notice could not be delivered or read."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = var.dead_letter_queue_name }
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "events_undelivered" {
  for_each = toset(var.rule_names)

  alarm_name          = "${each.key}-undelivered"
  alarm_description   = "EventBridge could not put an event of the rule ${each.key} into its queue."
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { RuleName = each.key }
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "below_target" {
  for_each = local.fleet_metrics

  alarm_name          = "${each.key}-below-target"
  alarm_description   = "Fleet ${each.key} has had less than its target for 15 minutes."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 3
  treat_missing_data  = "missing"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "lack"
    expression  = "target - fulfilled"
    label       = "Units that are missing"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { target = "TargetCapacity", fulfilled = "FulfilledCapacity" }

    content {
      id = metric_query.key

      metric {
        namespace   = each.value.namespace
        metric_name = metric_query.value
        dimensions  = each.value.dimensions
        period      = 300
        # The best of both: a moment of replacement is no lack.
        stat = metric_query.key == "target" ? "Minimum" : "Maximum"
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "at_maximum" {
  for_each = local.fleet_metrics

  alarm_name          = "${each.key}-at-maximum"
  alarm_description   = "Fleet ${each.key} has been as large as it may be for an hour."
  namespace           = each.value.namespace
  metric_name         = "TargetCapacity"
  dimensions          = each.value.dimensions
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.spot_fleets[each.key].max
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 12
  treat_missing_data  = "missing"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "hot" {
  for_each = local.fleet_metrics

  alarm_name          = "${each.key}-hot"
  alarm_description   = "The CPU of fleet ${each.key} has been above ${var.hot_cpu} % for 15 minutes."
  namespace           = each.value.namespace
  metric_name         = "CPUUtilization"
  dimensions          = each.value.dimensions
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.hot_cpu
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  treat_missing_data  = "missing"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
