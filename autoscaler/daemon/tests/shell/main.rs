//! The whole shell against a simulated world, on one stepped clock.

mod day;
mod ending;
mod faults;
mod harness;
mod http;
mod many;
mod nodes;
mod orders;
mod policies;
