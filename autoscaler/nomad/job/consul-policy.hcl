# What muster-autoscaler may do in Consul: hold its lock, keep its ledger, prove its life. Given to the job's workload
# identity by a role of Consul's JWT auth method for Nomad; README.md beside this file has the commands.
#
# The job's own service, `muster-autoscaler`, is registered by Nomad and not by the program.

# The lock, the ledgers, and on which instances the autoscalers run: `--consul-prefix`.
key_prefix "muster-autoscaler/" {
  policy = "write"
}

# The service whose TTL check says that a contender lives.
service "muster-autoscaler-election" {
  policy = "write"
}

# A session's right is by node. Where the nodes that it runs on are known, name them: session "node-1" { ... }.
session_prefix "" {
  policy = "write"
}
