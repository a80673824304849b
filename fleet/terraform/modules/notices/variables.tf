variable "name" {
  description = "The queue's name, and what the names of its rules begin with."
  type        = string
  default     = "muster-notices"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,45}$", var.name))
    error_message = "A name has up to 45 letters, digits, - and _."
  }
}

variable "kms_key_arn" {
  description = "A KMS key of your own for both queues, whose policy lets `events.amazonaws.com` use `kms:GenerateDataKey` and `kms:Decrypt`. Null: SQS's own keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "A key is the ARN of a KMS key, not of an alias."
  }
}

variable "tags" {
  description = "Tags of the queues and the rules."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : length(key) >= 1 && length(key) <= 128 && !startswith(key, "aws:")])
    error_message = "A tag has a key of up to 128 characters; those that begin with aws: are not yours to give."
  }
}
