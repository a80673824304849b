# What muster-autoscaler may do in Nomad beside nomad-policy.hcl where a policy's `workload` scales groups along: set their
# counts, and nothing else of their jobs. Bound to the job's workload identity as well:
#
#   nomad acl policy apply -namespace default -job muster-autoscaler muster-autoscaler-scaling nomad-scaling-policy.hcl

# The namespace of the groups; a rule for each where there are several. A rule that names a namespace stands in place of
# the one for all of them, so what that allows is here again.
namespace "default" {
  capabilities = ["list-jobs", "read-job", "scale-job"]
}
