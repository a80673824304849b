//! Electors and ledgers on a real Consul that denies by default.

mod contest;
mod elections;
mod ledgers;
mod peers;
mod tls;
