fleet "web" {
  id           = "sfr-1"
  observe_only = true
  dry_run      = true
  boot         = "10m"

  capacity {
    min = 4
    max = 4
  }
  scale_in {
    hold = "5m"
  }
  schedule "day" {
    start = "0 8 * * *"
    for   = "9h"
    min   = 4
  }
  schedule "night" {
    start  = "0 20 * * *"
    for    = "9h"
    target = "75%"
  }
  on_demand {
    fallback = 2
  }
}
