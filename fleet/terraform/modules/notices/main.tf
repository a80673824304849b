/**
 * # notices
 *
 * The queue that muster-autoscaler hears of its instances by (`--queue-url`): an SQS queue, EventBridge rules that fill it,
 * and a dead-letter queue for what could be neither delivered nor read.
 *
 * * Both queues are encrypted, by SQS's own keys or by one of yours. Only these rules may send to the queue, and only
 *   over TLS.
 * * EventBridge cannot tell instances by their tags: the queue hears of the whole account in this region, and the
 *   autoscaler leaves alone what is not its fleets'. One queue an account and region is enough, whatever the fleets.
 * * A notice is worth something for minutes: delivery is given up after three, and messages that nobody reads are dropped
 *   after an hour.
 */

locals {
  # What is heard, by the name of its rule.
  events = {
    spot-interruption = {
      why     = "An instance is to go in two minutes."
      pattern = { source = ["aws.ec2"], "detail-type" = ["EC2 Spot Instance Interruption Warning"] }
    }
    rebalance = {
      why     = "An instance is likelier to go than others."
      pattern = { source = ["aws.ec2"], "detail-type" = ["EC2 Instance Rebalance Recommendation"] }
    }
    state-change = {
      why     = "An instance runs, or is gone."
      pattern = { source = ["aws.ec2"], "detail-type" = ["EC2 Instance State-change Notification"] }
    }
    scheduled-event = {
      why     = "AWS will stop, restart or retire an instance."
      pattern = { source = ["aws.health"], "detail-type" = ["AWS Health Event"], detail = { service = ["EC2"], eventTypeCategory = ["scheduledChange"] } }
    }
    spot-fleet = {
      why     = "A Spot Fleet launched, ended or failed to launch instances, or was changed."
      pattern = { source = ["aws.ec2spotfleet"] }
    }
    ec2-fleet = {
      why     = "An EC2 Fleet launched, ended or failed to launch instances, or was changed."
      pattern = { source = ["aws.ec2fleet"] }
    }
  }

}

resource "aws_sqs_queue" "notices" {
  name                       = var.name
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  message_retention_seconds  = 3600
  visibility_timeout_seconds = 30
  receive_wait_time_seconds  = 20
  tags                       = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 5
  })
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  message_retention_seconds = 1209600
  tags                      = var.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.notices.arn]
  })
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.events

  name          = "${var.name}-${each.key}"
  description   = each.value.why
  event_pattern = jsonencode(each.value.pattern)
  tags          = var.tags
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.events

  rule      = aws_cloudwatch_event_rule.this[each.key].name
  target_id = "notices"
  arn       = aws_sqs_queue.notices.arn

  retry_policy {
    maximum_event_age_in_seconds = 180
    maximum_retry_attempts       = 10
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  # Before it may, nothing arrives.
  depends_on = [aws_sqs_queue_policy.this]
}

resource "aws_sqs_queue_policy" "this" {
  for_each = { notices = aws_sqs_queue.notices, dead_letters = aws_sqs_queue.dead_letters }

  queue_url = each.value.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Rules"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = each.value.arn
        Condition = { ArnEquals = { "aws:SourceArn" = [for rule in aws_cloudwatch_event_rule.this : rule.arn] } }
      },
      {
        Sid       = "OnlyTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = each.value.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}
