output "queue_url" {
  description = "The queue, for `--queue-url`."
  value       = aws_sqs_queue.notices.url
}

output "queue_arn" {
  description = "The queue, for modules/iam."
  value       = aws_sqs_queue.notices.arn
}

output "queue_name" {
  description = "The queue, for modules/alarms."
  value       = aws_sqs_queue.notices.name
}

output "dead_letter_queue_name" {
  description = "The dead-letter queue, for modules/alarms."
  value       = aws_sqs_queue.dead_letters.name
}

output "rule_names" {
  description = "The EventBridge rules, for modules/alarms."
  value       = sort([for rule in aws_cloudwatch_event_rule.this : rule.name])
}
