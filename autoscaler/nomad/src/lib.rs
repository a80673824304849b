//! Nomad, as far as an autoscaler needs it: which node is which instance and what runs there, drains that begin
//! and end in time, groups that scale along, placements that wait for room.
//!
//! * [`facts`] is pure: answers as plain values, and what follows from them (grace, deadlines, what fits where).
//! * [`Nomad`] is a client without retries: reads, writes that set and never add, and the event stream.
//!
//! What it does is in Nomad's words; read with Nomad 1.10.

mod client;
mod connection;
mod error;
mod events;
pub mod facts;
mod options;
mod reads;
pub mod wire;
mod writes;

pub use client::Nomad;
pub use error::{Call, NomadError};
pub use events::{AllocEvent, Follower, Heard, NodeEvent};
pub use options::{Options, TlsOptions, WRITE_WITHIN};
pub use writes::Drain;
