fleet "web" {
  id = "sfr-2"
  workload {
    kind = "spreads"
  }
}

fleet "api" {
  id = "sfr-1"
  workload {
    kind = "spreads"
  }
}
