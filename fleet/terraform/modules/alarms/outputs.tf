output "alarm_names" {
  description = "The alarms."
  value = sort(concat(
    aws_cloudwatch_metric_alarm.leader_silent[*].alarm_name,
    aws_cloudwatch_metric_alarm.notices_late[*].alarm_name,
    aws_cloudwatch_metric_alarm.dead_letters[*].alarm_name,
    [for alarm in aws_cloudwatch_metric_alarm.events_undelivered : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.below_target : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.at_maximum : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.hot : alarm.alarm_name],
  ))
}
