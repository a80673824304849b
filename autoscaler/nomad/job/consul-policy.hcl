# What muster-autoscaler may do in Consul: hold its lock, keep its ledger, prove its life, register its service.
# Given to the job's workload identity by a role of Consul's JWT auth method for Nomad.

key_prefix "muster/autoscaler/" {
  policy = "write"
}

# Sessions and the TTL check are made on whichever agent it talks to.
session_prefix "" {
  policy = "write"
}

node_prefix "" {
  policy = "read"
}

service "muster-autoscaler" {
  policy = "write"
}
