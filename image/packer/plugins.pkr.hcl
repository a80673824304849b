packer {
  # The first that finds the plugin where it is published now.
  required_version = ">= 1.14.0"
  required_plugins {
    amazon = {
      # This one alone, so that two bakes of one commit do not differ.
      version = "= 1.8.2"
      source  = "github.com/hashicorp/amazon"
    }
  }
}
