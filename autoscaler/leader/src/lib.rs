//! Who leads when several autoscalers run, without I/O: [`Elector::handle`] takes what happened and answers with
//! what is to be done, in the manner of the engine.
//!
//! A shell carries the [`Effect`]s out and hands the answers back as [`Event`]s; the elector says whether a write
//! may be begun now ([`Elector::may_write`]), and its [`Fence`] says so to whoever sends one. Nothing in here
//! waits, reads a clock or talks to anybody, so that a simulation drives two autoscalers and their Consul from
//! one heap of events; [`paper`] is that Consul.
//!
//! Why the timings are safe: docs/decisions/0040.

mod calls;
mod elector;
mod fence;
mod ledger;
pub mod paper;
mod request;
mod role;
mod timing;

pub use calls::CallId;
pub use elector::{Effect, Elector, Event};
pub use fence::Fence;
pub use ledger::{LedgerError, LedgerRead, LedgerRequest, LedgerVersion, MAX_LEDGER_BYTES};
pub use request::{Answer, Failure, Lock, Request, SessionId};
pub use role::{Role, Status, Term, Trouble};
pub use timing::{
    ACQUIRE_AGAIN, ANSWER_WITHIN, CHECK_TTL, CLING, FEED_EVERY, GIVES_WAY_AFTER, GIVES_WAY_AGAIN, LEASE,
    LEAVES_TO_OTHERS, LOCK_DELAY, RETRY_AFTER, WATCH_WAIT,
};
