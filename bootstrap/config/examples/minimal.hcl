# Proves which instance this is, and says that it is ready. Every other step is added by its block.
identity {
  certificates = ["/etc/muster/aws-identity.pem"]
}
