fleet "web" {
  id            = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
  observe-only  = true
  tags          = { service = "web" }

  capacity {
    min = 4
    mxa = 3
  }

  schedules "nights" {
    start = "0 20 * * *"
  }

  source "pusch" {
  }

  interruption {
    rebalance = "reploce"
  }

  workload {
    kind = "system"
  }
}

flet "api" {
  id = "fleet-1"
}
