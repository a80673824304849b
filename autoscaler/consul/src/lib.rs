//! Consul, as far as electing a leader and keeping its ledger needs it: carries out what
//! [`autoscaler_leader::Elector`] asks for, reads and writes the ledger under the protection of the lock, and tells where
//! the members run.
//!
//! Everything goes through the agent on our own node, because the session hangs on a check of that agent and on
//! that node's health; so there is no choice of datacenter. Answers are bounded in size and time, the token is
//! read from its file at every call, certificates when their files change, and redirects are not followed.
//!
//! The least that the token must be allowed, with the default [`Options::prefix`] and [`Options::service`]:
//!
//! ```hcl
//! key_prefix "muster-autoscaler/" { policy = "write" }
//! service "muster-autoscaler-election" { policy = "write" }
//! session_prefix "" { policy = "write" }
//! ```
//!
//! A session's right is by node: where the nodes that autoscalers run on are known, name them
//! (`session "node-1" { … }`).

mod client;
mod election;
mod ledger;
mod options;
mod peers;
mod refusal;
mod tls;

pub use election::Consul;
pub use options::{Options, Tls};
