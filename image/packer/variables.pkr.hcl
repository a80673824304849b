variable "region" {
  type        = string
  description = "Where the image is baked, and the only region that has it: bake in each region that launches it."
  default     = "eu-west-1"
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region is such as eu-west-1."
  }
}

variable "architecture" {
  type        = string
  description = "Debian's name: amd64 or arm64."
  default     = "amd64"
  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "The architecture is amd64 or arm64."
  }
}

variable "instance_types" {
  type        = map(list(string))
  description = "What a bake may run on: several, so that one pool without capacity does not stop it."
  default = {
    amd64 = ["m7i.large", "m6i.large", "m7a.large", "c7i.large", "c6i.large", "m5.large"]
    arm64 = ["m7g.large", "m6g.large", "c7g.large", "c6g.large"]
  }
}

variable "subnet_filter" {
  type        = map(string)
  description = "Tags (as `tag:NAME`) of the subnets that a bake may run in. Empty: the default VPC's."
  default     = {}
}

variable "instance_profile" {
  type        = string
  description = "The instance profile of the machine that is baked: AmazonSSMManagedInstanceCore for the session manager, nothing else. Empty: none."
  default     = ""
}

variable "ssh_interface" {
  type        = string
  description = "How the machine is reached: session_manager (no inbound rule; an instance profile, Amazon's agent in what is started from, and session-manager-plugin where Packer runs), private_ip or public_ip."
  default     = "private_ip"
  validation {
    condition     = contains(["session_manager", "private_ip", "public_ip"], var.ssh_interface)
    error_message = "The machine is reached by session_manager, private_ip or public_ip."
  }
}

variable "ssh_from" {
  type        = list(string)
  description = "The networks that may reach the machine by SSH, where its address is private. By a public one only the machine that bakes may."
  default     = ["10.0.0.0/8"]
}

variable "kms_key" {
  type        = string
  description = "The key that the image is encrypted with. Empty: the account's own for EBS."
  default     = ""
  validation {
    condition     = var.kms_key == "" || can(regex("^(arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/.+|alias/.+|[0-9a-f-]{36}|mrk-[0-9a-f]{32})$", var.kms_key))
    error_message = "A key is its id, its ARN, or an alias."
  }
}

variable "debian_owner" {
  type        = string
  description = "The account of AWS that Debian publishes from."
  default     = "136693071363"
}

variable "base_owner" {
  type        = string
  description = "The account that holds the base image."
  default     = "self"
}

variable "source_ami" {
  type        = string
  description = "An image to start from, by its id. Empty: the newest that fits."
  default     = ""
}

variable "name_prefix" {
  type        = string
  description = "What the names of images begin with."
  default     = "muster"
}

variable "commit" {
  type        = string
  description = "The commit that the image is made of: `git rev-parse HEAD`."
  validation {
    condition     = can(regex("^[0-9a-f]{7,40}$", var.commit))
    error_message = "The commit is a hash of git's."
  }
}

variable "playbook" {
  type        = string
  description = "The version of the playbook: the digest of its tree, as image/playbook-version prints it."
  validation {
    condition     = can(regex("^[0-9A-Za-z._-]{1,64}$", var.playbook))
    error_message = "The version of the playbook is as image/playbook-version prints it."
  }
}

variable "bake" {
  type        = string
  description = "Which bake this is, as muster-image bake draws it: the tag muster:bake of all that is made to bake with; the image and its snapshot have it from their machine. Empty: no tag."
  default     = ""
  validation {
    condition     = can(regex("^[0-9A-Za-z._-]{0,64}$", var.bake))
    error_message = "A bake is called by letters and digits."
  }
}

variable "package" {
  type        = string
  description = "The Debian package of the agent, for the architecture; of the node's image alone."
  default     = ""
}

variable "package_sha256" {
  type        = string
  description = "Its SHA-256."
  default     = ""
  validation {
    condition     = var.package_sha256 == "" || can(regex("^[0-9a-f]{64}$", var.package_sha256))
    error_message = "A SHA-256 is 64 digits."
  }
}

variable "extra_vars_file" {
  type        = string
  description = "A file of variables (JSON) of the playbook: authorities, the registry, AWS's certificates. It holds no secrets."
  default     = ""
}

variable "package_index" {
  type        = string
  description = "Where the machine that is baked has Ansible from, such as a mirror of PyPI. Empty: PyPI."
  default     = ""
}

variable "deprecate_after" {
  type        = string
  description = "After this time nobody is to start from the image any more."
  default     = "2160h"
}

variable "manifest" {
  type        = string
  description = "Where Packer writes what it has made."
  default     = "packer-manifest.json"
}

variable "noted" {
  type        = string
  description = "Where the notes of the programs that were installed are put, of a node alone."
  default     = ".packer-noted"
}

variable "rootfs" {
  type        = string
  description = "The directory of the image without AWS."
  default     = "rootfs"
}

variable "rootfs_arguments" {
  type        = list(string)
  description = "More arguments of image/bake-rootfs for it."
  default     = []
}

# For rehearsals against a cloud that runs no machines.
variable "endpoint" {
  type        = string
  description = "Where EC2 is; AWS_ENDPOINT_URL_EC2 of Packer's environment has to say the same. Empty: where AWS has it."
  default     = ""
}

variable "communicator" {
  type        = string
  description = "ssh; in a rehearsal none."
  default     = "ssh"
}

locals {
  built = formatdate("YYYYMMDD'T'hhmmss'Z'", timestamp())
  # What a bake leaves behind says where it came from, whoever finds it.
  provenance = {
    "muster:architecture" = var.architecture
    "muster:base"         = "{{ .SourceAMI }}"
    "muster:base-name"    = "{{ .SourceAMIName }}"
    "muster:built"        = local.built
    "muster:commit"       = var.commit
    "muster:playbook"     = var.playbook
  }
  # What is made to bake with is known by this: by its name to the role of who bakes, and to muster-image by the bake.
  bake = merge({ Name = "muster-bake" }, var.bake == "" ? {} : { "muster:bake" = var.bake })
}

locals {
  # Where the playbook is put on the machine that is baked: memory, so that the image holds nothing of it.
  staging = "/run/muster-image"
  wheels  = "${path.cwd}/.packer-wheels-${var.architecture}"
  index   = var.package_index == "" ? [] : ["PIP_INDEX_URL=${var.package_index}"]
  as_root = "sudo env {{ .Vars }} bash '{{ .Path }}'"
  play = [
    "STAGING=${local.staging}",
    "COMMIT=${var.commit}",
    "PLAYBOOK_VERSION=${var.playbook}",
    "WHEELS=${local.staging}/${basename(local.wheels)}",
  ]
  manifest = {
    architecture = var.architecture
    built        = local.built
    commit       = var.commit
    playbook     = var.playbook
  }
}
