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
}

variable "dead_letter_queue_name" {
  description = "Its dead-letter queue: `dead_letter_queue_name` of modules/notices. Null: none."
  type        = string
  default     = null
}

variable "rule_names" {
  description = "The EventBridge rules: `rule_names` of modules/notices, or names that are known before they are made."
  type        = list(string)
  default     = []
  nullable    = false
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
}
