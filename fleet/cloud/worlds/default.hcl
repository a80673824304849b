# The world that `muster-autoscaler cloud` serves where no file is given: a region with four pools of three
# families in two zones, and one spot fleet that is 75 % busy.

region = "eu-west-1"

pool "m5.large/eu-west-1a" {
  price           = "0.0410"
  on_demand_price = "0.107"
  depth           = 40
}

pool "m5.large/eu-west-1b" {
  price           = "0.0402"
  on_demand_price = "0.107"
  depth           = 30
}

pool "c5.large/eu-west-1a" {
  price           = "0.0375"
  on_demand_price = "0.096"
  depth           = 24
}

pool "r5.large/eu-west-1b" {
  price           = "0.0448"
  on_demand_price = "0.141"
  depth           = 24
}

fleet "web" {
  id     = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
  target = 4

  load {
    demand = 3
  }
}

# What a fleet has to serve that is made through the API.
load {
  demand = 3
}
