fleet 'web' {
  id = "sfr-1"
}

fleet "api" {
  id: "sfr-2"
  boot = 5m

  capacity { min = 1 max = 2 }

  target {
    cpu = 75%
  }
  scale_in
  {
    hold = "5m",
  }
  region = "eu-west-1
  dry_run = tru
}
