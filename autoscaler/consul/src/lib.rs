//! Consul, as far as electing a leader and keeping its ledger needs it.
