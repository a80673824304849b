variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
  nullable    = false
}

variable "name" {
  description = "The fleet's name."
  type        = string
  default     = "web"
  nullable    = false
}

variable "subnet_ids" {
  description = "Subnets of two zones at least."
  type        = list(string)
  nullable    = false
}

variable "security_group_ids" {
  description = "Security groups of the nodes."
  type        = list(string)
  nullable    = false
}

variable "image_id" {
  description = "The AMI of the nodes."
  type        = string
  nullable    = false
}

variable "operators" {
  description = "ARNs of roles that may run the autoscaler."
  type        = list(string)
  default     = []
  nullable    = false
}
