packer {
  required_version = ">= 1.12.0"
  required_plugins {
    amazon = {
      # This one alone, so that two bakes of one commit do not differ.
      version = "= 1.2.9"
      source  = "github.com/hashicorp/amazon"
    }
  }
}
