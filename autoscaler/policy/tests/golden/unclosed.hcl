fleet "web" {
  id = "sfr-1"

  capacity {
    min = 2

  target {
    cpu = "75%"
  }
}

fleet "api" {
  id = "sfr-2"
}
