fleet "web" {
  id = "i-0123456789"
  source "prometheus" {
    address    = "prometheus:9090"
    token_file = "secrets/token"
  }
  source "cloudwatch" {
    namespace  = "Acme/Web"
    statistic  = "average"
    dimensions = { Service = 1 }
    period     = "0s"
  }
  workload {
    kind = "service"
    groups = ["frontend"]
  }
}
