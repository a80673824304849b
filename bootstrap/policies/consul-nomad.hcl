# What Nomad's client of a node, and who asks the node's agent for names, may do in Consul: look. Without it no deployment of a
# service with a check is ever healthy, because the client sees nothing of the checks of its work. What is registered for work is
# registered by the work's own identity.
agent_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
service_prefix "" {
  policy = "read"
}
