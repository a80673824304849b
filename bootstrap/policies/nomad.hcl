# What the agent of a node may do in Nomad: look at its client and at nodes. It cannot
# make a node ineligible or drain one: that right is over every node.
node {
  policy = "read"
}
agent {
  policy = "read"
}
