//! Proving an image: its root file system is booted under systemd in a network of its own, and what is found is judged.

mod boot;
mod facts;
mod judge;
mod relay;

pub use boot::{Options, VerifyError, verify};
pub use facts::{Agent, Facts, Listener, Manifest, Program, Unit};
pub use judge::{Check, Expected, Report, judge};
