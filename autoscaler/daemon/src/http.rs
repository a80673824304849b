//! The daemon's face on the network: samples and notices of agents in, status and metrics out, orders of operators in.
//!
//! [`router`] answers requests by asking a [`Shell`]; [`serve`] keeps connections within [`Limits`], over [`Tls`] or
//! without. What is sent is described in [`api`].
//!
//! Who may do what ([`Access`]):
//! * Reading (status, decisions, metrics) is open to everybody who reaches the listener; nothing secret is in it.
//! * Samples and notices need a token. A node gets its own by proving who it is ([`Identity`]), and speaks for itself
//!   alone with it. A token of the samples token file is on every node: with that one the call must come from the
//!   private address of the instance that it speaks of, which holds for the others, too.
//! * Orders need a token of the operator token file. Without such a file they are taken from loopback alone, and
//!   not from a browser or through a proxy: who can open a shell on this host may steer its autoscaler.

mod access;
pub mod api;
mod identity;
mod refusal;
mod routes;
mod server;
mod shell;
mod tls;
mod token;
mod watched;

pub use access::Access;
pub use identity::{Identity, IdentityFiles};
pub use refusal::Refusal;
pub use routes::{Images, router};
pub use server::{Limits, serve};
pub use shell::{Shell, Unanswered};
pub use tls::Tls;
pub use token::{TokenFile, TokenFileError};
pub use watched::Unusable;
