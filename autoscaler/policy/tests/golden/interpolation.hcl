variable "min" {
  default = 2
}

fleet "web" {
  id     = "sfr-${var.id}"
  region = var.region

  capacity {
    min = var.min
    max = 2 * 10
  }
  workload {
    kind = null
  }
}
