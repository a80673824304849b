# What whoever asks a node's agent of Consul without a token may do, by `acl.tokens.default`: look names up. Every process of the node
# is one of these, so it writes nothing.
node_prefix "" {
  policy = "read"
}
service_prefix "" {
  policy = "read"
}
