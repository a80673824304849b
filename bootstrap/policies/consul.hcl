# What the agent of one node may do in Consul. INSTANCE is its instance id: Vault's role or Terraform fills it in.

# Its own node: registrations and maintenance, and no other's.
node "INSTANCE" {
  policy = "write"
}
agent "INSTANCE" {
  policy = "read"
}
# Its own services: this node, and the exporter of its metrics.
service "muster-node" {
  policy = "write"
}
service "prometheus-node-exporter" {
  policy = "write"
}
# To find the autoscaler.
service "muster-autoscaler" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
# How many nodes of an image have ended themselves in a row.
key_prefix "muster-bootstrap/breaker/" {
  policy = "write"
}
