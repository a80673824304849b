//! The daemon's face on the network: samples of agents in, status and metrics out, orders of operators in.
//!
//! [`router`] answers requests by asking a [`Shell`]; [`serve`] keeps connections within [`Limits`]. What is sent
//! is described in [`api`].
//!
//! Who may do what ([`Access`]):
//! * Reading (status, decisions, metrics) is open to everybody who reaches the listener; nothing secret is in it.
//! * Samples need a token of the samples token file *and* must come from the private address of the instance
//!   that they speak of, because one token is on every node. Without a token file none are taken.
//! * Orders need a token of the operator token file. Without such a file they are taken from loopback alone, and
//!   not from a browser or through a proxy: who can open a shell on this host may steer its autoscaler.

mod access;
pub mod api;
mod refusal;
mod routes;
mod server;
mod shell;
mod token;

pub use access::Access;
pub use refusal::Refusal;
pub use routes::router;
pub use server::{Limits, serve};
pub use shell::{Shell, Unanswered};
pub use token::{TokenFile, TokenFileError};
