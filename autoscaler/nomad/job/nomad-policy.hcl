# What muster-autoscaler may do in Nomad. Bound to the job's workload identity:
#
#   nomad acl policy apply -namespace default -job muster-autoscaler muster-autoscaler nomad-policy.hcl

# Nodes: find them, make them ineligible, drain them, and take that back.
node {
  policy = "write"
}

# What runs on them, and which evaluations are blocked, in every namespace: a node is empty when nobody's work is on
# it. Without this rule nothing is drained. Deny no namespace beside it: its work would not be seen.
namespace "*" {
  capabilities = ["list-jobs", "read-job"]
}

# The counts of the groups that are scaled along; narrow this to their namespaces.
namespace "default" {
  capabilities = ["list-jobs", "read-job", "scale-job", "read-job-scaling"]
}
