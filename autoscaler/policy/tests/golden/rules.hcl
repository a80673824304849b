fleet "web" {
  id      = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
  backend = "ec2_fleet"

  capacity {
    min = 21
  }
  target {
    cpu = "80%"
  }
  workload {
    kind   = "system"
    groups = ["web/frontend"]
  }
}

fleet "api" {
  tag {
    key   = "service"
    value = "api"
  }
  objective {
    above = "75%"
  }
  source "cloudwatch" {
    by     = "instance"
    metric = "Busy"
  }
  source "push" {}
  workload {
    kind = "service"
  }
}

fleet "batch" {
  id = "fleet-12a34b55-67cd-8ef9-ba9b-9208dd6d8ff1"
  tag {
    key   = "service"
    value = "batch"
  }
  workload {
    groups = ["batch/worker"]
  }
  source "cloudwatch" {
    by = "fleet"
  }
}

fleet "queue" {
}

fleet "emptied" {
  id = "sfr-12a34b55-67cd-8ef9-ba9b-9208dd6d8ff2"
  workload {
    kind = "spreads"
  }
  drain {
    by = "hook"
  }
}

fleet "hooked" {
  id = "sfr-12a34b55-67cd-8ef9-ba9b-9208dd6d8ff3"
  workload {
    kind = "spreads"
  }
  drain {
    by = "hook"
  }
  drain_hook {
    command    = ["/usr/local/bin/empty-node"]
    token_file = "/run/secrets/drain"
  }
}

fleet "unhooked" {
  id = "sfr-12a34b55-67cd-8ef9-ba9b-9208dd6d8ff4"
  workload {
    kind = "spreads"
  }
  drain_hook {
    url = "https://drain.example/v1/empty"
  }
}
