fleet "web" {
  id = "sfr-1"
  workload {
    kind = "spreads"
  }
}
