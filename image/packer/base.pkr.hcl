# The base image: Debian with what changes seldom. packer build -only='base.*' image/packer
build {
  name = "base"

  source "amazon-ebs.machine" {
    name            = "base"
    ami_name        = "${var.name_prefix}-base-${var.architecture}-${local.built}"
    ami_description = "muster: Debian with Docker, for images of nodes"
    source_ami      = var.source_ami
    dynamic "source_ami_filter" {
      for_each = var.source_ami == "" ? [1] : []
      content {
        owners      = [var.debian_owner]
        most_recent = true
        filters = {
          name                = "debian-12-${var.architecture}-*"
          root-device-type    = "ebs"
          virtualization-type = "hvm"
        }
      }
    }
    tags = merge(local.provenance, { "muster:image" = "base" })
  }

  provisioner "shell-local" {
    inline           = ["'${path.root}/wheels' '${var.architecture}' '${local.wheels}'"]
    environment_vars = local.index
  }
  provisioner "shell" {
    inline = ["sudo install --directory --mode=0700 --owner=\"$(id --user)\" ${local.staging}"]
  }
  provisioner "file" {
    sources     = ["${path.root}/../ansible", local.wheels]
    destination = "${local.staging}/"
    generated   = true
  }
  provisioner "file" {
    source      = var.extra_vars_file == "" ? "${path.root}/nothing.json" : var.extra_vars_file
    destination = "${local.staging}/extra-vars.json"
  }
  provisioner "shell" {
    script           = "${path.root}/play"
    remote_folder    = local.staging
    execute_command  = local.as_root
    environment_vars = concat(local.play, ["PLAYBOOK=base"])
  }

  post-processor "manifest" {
    output      = var.manifest
    custom_data = local.manifest
  }
}
