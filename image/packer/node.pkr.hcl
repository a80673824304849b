# The image of a node, on the newest base image. packer build -only='node.*' image/packer
# `rehearsal` is the same machine without the playbook, for a cloud that runs no machines; `rootfs` the same playbook
# without a machine.
build {
  name = "node"

  source "amazon-ebs.machine" {
    name            = "node"
    ami_name        = "${var.name_prefix}-node-${var.architecture}-${local.built}"
    ami_description = "muster: a node of Nomad"
    source_ami      = var.source_ami
    dynamic "source_ami_filter" {
      for_each = var.source_ami == "" ? [1] : []
      content {
        owners      = [var.base_owner]
        most_recent = true
        filters = {
          "tag:muster:image"        = "base"
          "tag:muster:architecture" = var.architecture
          root-device-type          = "ebs"
        }
      }
    }
    tags = merge(local.provenance, { "muster:image" = "node" })
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
    source      = var.package
    destination = "${local.staging}/muster-bootstrap.deb"
    generated   = true
  }
  provisioner "file" {
    source      = var.extra_vars_file == "" ? "${path.root}/nothing.json" : var.extra_vars_file
    destination = "${local.staging}/extra-vars.json"
  }
  # The last that is done to it: the playbook ends with the seal.
  provisioner "shell" {
    script          = "${path.root}/play"
    remote_folder   = local.staging
    execute_command = local.as_root
    environment_vars = concat(local.play, [
      "PLAYBOOK=node",
      "PACKAGE_SHA256=${var.package_sha256}",
    ])
  }
  # What was installed, as the playbook notes it beside each program.
  provisioner "file" {
    direction   = "download"
    sources     = [for name in ["consul", "muster-bootstrap", "nomad"] : "/usr/share/muster/programs/${name}.json"]
    destination = "${var.noted}/"
  }

  post-processor "manifest" {
    output      = var.manifest
    custom_data = merge(local.manifest, { noted = var.noted })
  }
}

build {
  name = "rehearsal"

  source "amazon-ebs.machine" {
    name            = "node"
    ami_name        = "${var.name_prefix}-rehearsal-${var.architecture}-${local.built}"
    ami_description = "muster: a node of Nomad"
    source_ami      = var.source_ami
    dynamic "source_ami_filter" {
      for_each = var.source_ami == "" ? [1] : []
      content {
        owners      = [var.base_owner]
        most_recent = true
        filters = {
          "tag:muster:image"        = "base"
          "tag:muster:architecture" = var.architecture
          root-device-type          = "ebs"
        }
      }
    }
    tags = merge(local.provenance, { "muster:image" = "rehearsal" })
  }

  post-processor "manifest" {
    output      = var.manifest
    custom_data = local.manifest
  }
}

source "null" "rootfs" {
  communicator = "none"
}

build {
  name    = "rootfs"
  sources = ["null.rootfs"]

  provisioner "shell-local" {
    inline = [join(" ", [for word in concat(["${path.root}/../bake-rootfs"], var.rootfs_arguments, [var.rootfs]) :
    format("'%s'", word)])]
  }

  post-processor "manifest" {
    output      = var.manifest
    custom_data = merge(local.manifest, { rootfs = var.rootfs })
  }
}
