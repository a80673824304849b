//! The journal: what was seen, decided and done, kept so that a crash loses nothing that matters, a decision can
//! be explained days later, and a replay meets the very same records.
//!
//! One SQLite file in the state directory, written by one process and one thread. The crate is synchronous; the
//! shell gives it a thread. Records are bytes to the storage layer: a stream (a fleet's name, or that of
//! something all fleets share), a sequence number that orders everything, a wall time for people, and a flag for
//! checkpoints. [`codec`] turns the engine's records into such bytes and back.
//!
//! * A tick's records go in with one transaction. A durable one is on the disk when the call returns.
//! * Hours that are over are packed into compressed blocks, a slice at a time, so that no append waits for long.
//! * A byte limit is kept by dropping the oldest blocks. What follows a stream's last checkpoint always stays:
//!   that is where everything in flight is written down.
//! * A journal that cannot be read is set aside and a fresh one begun: holding the fleet comes first.

pub mod codec;
mod directory;
mod entries;
mod error;
mod pack;
mod read;
mod schema;
mod store;

pub use directory::{JOURNAL_FILE, LOCK_FILE, StateDir};
pub use entries::Entries;
pub use error::JournalError;
pub use pack::Tidied;
pub use read::{Reader, Start, Stored, StreamInfo};
pub use store::{Entry, Journal, Limits, Opened, SetAside, Tick};
