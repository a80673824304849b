fleet "web" {
  id = "sfr-1a"
  source "prometheus" {
    address = "http://bob:hunter2@prometheus:9090"
    query   = "up"
  }
}
fleet "api" {
  id = "sfr-1b"
  source "prometheus" {
    adress = "https://bob:hunter2@prometheus:9090"
    query  = "up"
  }
}
