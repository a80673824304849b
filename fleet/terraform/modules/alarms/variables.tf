variable "name" {
  description = "What the names of alarms begin with that are of no one fleet."
  type        = string
  default     = "muster"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.name))
    error_message = "A name has up to 64 letters, digits, - and _."
  }
}

variable "alarm_actions" {
  description = "Whom an alarm is sent to, and its end: ARNs, of an SNS topic mostly. None: alarms are seen in CloudWatch alone."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_actions : startswith(arn, "arn:")])
    error_message = "An action is an ARN."
  }
}

variable "queue_name" {
  description = "The queue of notices: `queue_name` of modules/notices. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.queue_name == null || can(regex("^[A-Za-z0-9_-]{1,80}$", var.queue_name))
    error_message = "A queue is named, without its address or ARN: up to 80 letters, digits, - and _."
  }
}

variable "dead_letter_queue_name" {
  description = "Its dead-letter queue: `dead_letter_queue_name` of modules/notices. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.dead_letter_queue_name == null || can(regex("^[A-Za-z0-9_-]{1,80}$", var.dead_letter_queue_name))
    error_message = "A queue is named, without its address or ARN: up to 80 letters, digits, - and _."
  }
}

variable "rule_names" {
  description = "The EventBridge rules: `rule_names` of modules/notices, or names that are known before they are made."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.rule_names : can(regex("^[A-Za-z0-9._-]{1,64}$", name))])
    error_message = "A rule is named, without its ARN: up to 64 letters, digits, ., - and _."
  }
}

variable "spot_fleets" {
  description = "The Spot Fleets by name: their ids, and the most units that they may have. EC2 Fleets have no metrics here."
  type = map(object({
    id  = string
    max = number
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for fleet in values(var.spot_fleets) : fleet.max >= 1])
    error_message = "A fleet may have one unit at least."
  }
}

variable "hot_cpu" {
  description = "From what mean CPU utilisation on, in percent, a fleet is hot. Well above every fleet's target."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.hot_cpu > 5 && var.hot_cpu <= 100
    error_message = "This is from 5 to 100 percent."
  }
}

variable "tags" {
  description = "Tags of the alarms."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : length(key) >= 1 && length(key) <= 128 && !startswith(key, "aws:")])
    error_message = "A tag has a key of up to 128 characters; those that begin with aws: are not yours to give."
  }
}
