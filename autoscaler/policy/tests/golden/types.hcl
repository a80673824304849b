fleet "web" {
  id           = sfr-73fbd2ce
  region       = "eu-west-1a"
  observe_only = "yes"
  boot         = 120
  power        = { m5.large = 2, "m5.xlarge" = "4", "C5" = 2 }

  capacity {
    min   = 0
    max   = "20"
    surge = 0
  }
  target {
    cpu = 75
  }
  objective {
    above   = 0.8
    at_most = "0%"
    over    = "1 week"
  }
  scale_in {
    hold = "300"
  }
  diversification {
    families = 1
  }
  workload {
    kind   = "service"
    groups = "web/frontend"
  }
  drain {
    margin = "2m"
  }
}
