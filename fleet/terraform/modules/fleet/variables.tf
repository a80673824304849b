variable "name" {
  description = "The fleet's name: of its launch template, its tags and its policy."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_-]{2,63}$", var.name))
    error_message = "A name has 3 to 64 letters, digits, - and _, and begins with a letter."
  }
}

variable "backend" {
  description = "Which of EC2's services holds the fleet: `spot_fleet` or `ec2_fleet`."
  type        = string
  default     = "spot_fleet"
  nullable    = false

  validation {
    condition     = contains(["spot_fleet", "ec2_fleet"], var.backend)
    error_message = "The backend is spot_fleet or ec2_fleet."
  }
}

variable "instance_types" {
  description = "The instance types, and how many units of capacity one of each counts: `{ \"m6i.large\" = 1, \"m6i.xlarge\" = 2, \"c6a.large\" = 1 }`. Of one architecture, and of as many families as `families` says."
  type        = map(number)
  nullable    = false

  validation {
    condition     = alltrue([for type in keys(var.instance_types) : can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", type))])
    error_message = "An instance type looks like m6i.large."
  }

  validation {
    condition     = alltrue([for weight in values(var.instance_types) : weight >= 1 && weight <= 999 && floor(weight) == weight])
    error_message = "A type counts a whole number of units from 1 to 999."
  }

  validation {
    condition     = length(distinct([for type in keys(var.instance_types) : split(".", type)[0]])) >= var.families
    error_message = "The instance types are of too few families, such as m6i and c6a: one interruption would take them all. Name types of at least two families, or as many as `families` says."
  }
}

variable "families" {
  description = "Over how many instance families the fleet has to be spread, at least. Two is the least."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.families >= 2 && var.families <= 20 && floor(var.families) == var.families
    error_message = "The families are a whole number from 2 to 20."
  }
}

variable "subnet_ids" {
  description = "The subnets, of two availability zones at least."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 2 && length(distinct(var.subnet_ids)) == length(var.subnet_ids)
    error_message = "Name two different subnets at least, each once."
  }
}

variable "security_group_ids" {
  description = "The security groups of the nodes."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.security_group_ids) >= 1 && alltrue([for id in var.security_group_ids : startswith(id, "sg-")])
    error_message = "Name one security group (sg-...) at least: without, the nodes are in the VPC's default one."
  }
}

variable "image_id" {
  description = "The AMI of the nodes. A new one makes a new version of the launch template, and touches no instance."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^ami-[0-9a-f]+$", var.image_id))
    error_message = "An image looks like ami-0123456789abcdef0."
  }
}

variable "instance_profile_arn" {
  description = "The instance profile of the nodes: `node_instance_profile_arn` of modules/iam."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:instance-profile/", var.instance_profile_arn))
    error_message = "This is the ARN of an instance profile."
  }
}

variable "fleet_role_arn" {
  description = "The role that a Spot Fleet launches with: `fleet_role_arn` of modules/iam. An EC2 Fleet has none."
  type        = string
  default     = null

  validation {
    condition     = var.backend == "ec2_fleet" || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/", var.fleet_role_arn))
    error_message = "A Spot Fleet needs the ARN of a role to launch with."
  }
}

variable "configuration_path" {
  description = "Where the agents find their configuration in Parameter Store; `/muster/NAME` where it is not given."
  type        = string
  default     = null

  validation {
    condition     = var.configuration_path == null || can(regex("^(/[A-Za-z0-9_.-]+)+$", var.configuration_path))
    error_message = "A path looks like /muster/web, without a slash at its end."
  }
}

variable "capacity" {
  description = "How small and how large the fleet may be, in units; how far above `max` it may reach for a while to replace instances; and what it is made with (`min` where that is not given), which is the autoscaler's from then on."
  type = object({
    min     = optional(number, 1)
    max     = optional(number, 20)
    surge   = optional(number, 2)
    initial = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for units in [var.capacity.min, var.capacity.max, var.capacity.surge] : units >= 1 && units <= 10000 && floor(units) == units])
    error_message = "Units are whole numbers from 1 to 10000."
  }

  validation {
    condition     = var.capacity.min <= var.capacity.max
    error_message = "The fleet would have to be larger than it may be: min is above max."
  }

  validation {
    condition     = try(var.capacity.initial >= var.capacity.min && var.capacity.initial <= var.capacity.max && floor(var.capacity.initial) == var.capacity.initial, var.capacity.initial == null)
    error_message = "The fleet is made with a whole number of units from min to max."
  }
}

variable "on_demand_capacity" {
  description = "How many of the units are on demand when the fleet is made."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.on_demand_capacity >= 0 && var.on_demand_capacity <= var.capacity.max && floor(var.on_demand_capacity) == var.on_demand_capacity
    error_message = "On demand is a whole number of units from 0 to the most that the fleet may have."
  }
}

variable "target_cpu" {
  description = "The mean CPU utilisation to hold, in percent."
  type        = number
  default     = 75
  nullable    = false

  validation {
    condition     = var.target_cpu >= 5 && var.target_cpu <= 95
    error_message = "The target is from 5 to 95 percent."
  }
}

variable "allocation_strategy" {
  description = "How AWS chooses among the pools: `priceCapacityOptimized`, `capacityOptimized`, `diversified` or `lowestPrice`."
  type        = string
  default     = "priceCapacityOptimized"
  nullable    = false

  validation {
    condition     = contains(["priceCapacityOptimized", "capacityOptimized", "diversified", "lowestPrice"], var.allocation_strategy)
    error_message = "The strategy is priceCapacityOptimized, capacityOptimized, diversified or lowestPrice."
  }
}

variable "drain_by" {
  description = "Who empties a node before it goes, as the policy's `drain.by` has it: `nomad`, `hook` or `nobody`."
  type        = string
  default     = "nomad"
  nullable    = false

  validation {
    condition     = contains(["nomad", "hook", "nobody"], var.drain_by)
    error_message = "A node is emptied by nomad, hook or nobody."
  }
}

variable "policy_blocks" {
  description = "More blocks of the fleet's policy, as HCL: schedules, the workload, on-demand fallback. `muster-autoscaler check` judges the whole."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = !can(regex("(?m)^(fleet|id|region|capacity|target|diversification|drain)\\b", var.policy_blocks))
    error_message = "The policy has its fleet, id, region, capacity, target, diversification and drain from other variables."
  }
}

variable "metadata_hop_limit" {
  description = "How many hops an answer of the metadata service may take. 1 keeps containers away from the node's role; 2 where they must reach it."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = contains([1, 2], var.metadata_hop_limit)
    error_message = "The hop limit is 1, or 2 for containers."
  }
}

variable "root_volume" {
  description = "The root volume, which is always encrypted: the image's device, its size, and a KMS key (the account's own for EBS where none is given; on one of yours spot's roles need grants, which fleet/terraform's page makes)."
  type = object({
    device_name = optional(string, "/dev/xvda")
    size_gib    = optional(number, 20)
    kms_key_arn = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = startswith(var.root_volume.device_name, "/dev/") && var.root_volume.size_gib >= 8 && var.root_volume.size_gib <= 16384
    error_message = "A root volume is a device (/dev/...) of 8 to 16384 GiB."
  }

  validation {
    condition     = var.root_volume.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.root_volume.kms_key_arn))
    error_message = "A key is the ARN of a KMS key, not of an alias: spot would end instances whose key it may not use without a word."
  }
}

variable "valid_until" {
  description = "When the fleet's request ends. Changing it makes a new fleet."
  type        = string
  default     = "2099-12-31T00:00:00Z"
  nullable    = false

  validation {
    condition     = can(timeadd(var.valid_until, "0s")) && endswith(var.valid_until, "Z")
    error_message = "A time looks like 2099-12-31T00:00:00Z."
  }
}

variable "terminate_on_destroy" {
  description = "Whether the instances end with the fleet when it is destroyed. Otherwise they stay, and nobody is left to end them."
  type        = bool
  default     = true
  nullable    = false
}

variable "tags" {
  description = "Tags of the fleet, its launch template, its instances and their volumes. `Name` and `muster:fleet` are set beside them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "aws:") && !startswith(key, "muster")])
    error_message = "Tags that begin with aws: or muster are not yours to give."
  }
}
