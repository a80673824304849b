variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region is such as eu-west-1."
  }
}

variable "name" {
  description = "The fleet's name."
  type        = string
  default     = "web"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_-]{2,46}$", var.name))
    error_message = "A name has 3 to 47 letters, digits, - and _, and begins with a letter: it is the fleet's, and what its roles' names begin with."
  }
}

variable "subnet_ids" {
  description = "Subnets of two zones at least."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 2 && alltrue([for id in var.subnet_ids : startswith(id, "subnet-")])
    error_message = "Name two subnets at least, by their ids."
  }
}

variable "security_group_ids" {
  description = "Security groups of the nodes."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.security_group_ids) >= 1 && alltrue([for id in var.security_group_ids : startswith(id, "sg-")])
    error_message = "Name one security group at least, by its id."
  }
}

variable "image_id" {
  description = "The AMI of the nodes."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^ami-([0-9a-f]{8}|[0-9a-f]{17})$", var.image_id))
    error_message = "An image is an AMI's id."
  }
}

variable "operators" {
  description = "ARNs of roles that may run the autoscaler."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.operators : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[^*]+$", arn))])
    error_message = "Name the ARNs of single roles."
  }
}
