fleet "web" {
  id = "sfr-1"
  id = "sfr-2"
  power = { "m5.large" = 2, "m5.large" = 3 }
  capacity {
    min = 1
  }
  capacity {
    max = 9
  }
  source "push" {
  }
  source "push" {
  }
  workload {
    kind   = "service"
    groups = ["web/a", "web/a"]
  }
}

fleet "web" {
  id = "sfr-3"
}
