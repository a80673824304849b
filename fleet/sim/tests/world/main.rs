//! The world's behaviour, by its public face alone.

mod bench;
mod faults;
mod fleets;
mod interruptions;
mod laws;
mod measures;
mod notices;
mod pools;
mod port;
mod scores;
mod second_writer;
