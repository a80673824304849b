# What Nomad's client of a node may do in Consul.
#
# It looks: without that no deployment of a service with a check is ever healthy, because the client sees nothing of the checks of
# its work. What is registered for work is registered by the work's own identity; but since 1.9 Nomad takes it out of the node's
# agent by the client's own token, because the identity's may be gone by then. Without `write` a service that has ended stays in
# Consul, as healthy as it was last, and is asked for ever.
agent_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
service_prefix "" {
  policy = "write"
}
