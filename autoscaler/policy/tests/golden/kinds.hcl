id = "sfr-1"

fleet {
  id = "sfr-1"
}

fleet "web" "blue" {
  id = "sfr-1"
}

fleet "2nd" {
  id       = "sfr-1"
  capacity = { min = 1 }
  schedule {
    start = "0 8 * * *"
  }
  power {
    m5 = 2
  }
  target "cpu" {
    cpu = "75%"
  }
  workload {
    kind = "system"
  }
}
