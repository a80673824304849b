# What muster-autoscaler may do in Nomad. Bound to the job's workload identity:
#
#   nomad acl policy apply -namespace default -job muster-autoscaler muster-autoscaler nomad-policy.hcl
#
# Where a policy scales groups along, nomad-scaling-policy.hcl beside this file, too.

# Nodes: find them, make them ineligible, drain them, and take that back. Nomad knows no right for some nodes alone.
node {
  policy = "write"
}

# What runs on them, and which evaluations are blocked, in every namespace: a node is empty when nobody's work is on
# it. Without this rule nothing is drained. Deny no namespace beside it: its work would not be seen.
namespace "*" {
  capabilities = ["list-jobs", "read-job"]
}
