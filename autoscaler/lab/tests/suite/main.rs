//! The simulating half of the lab: the suite's world, our runner and the rivals in it, the oracles, and what compares
//! them.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    reason = "tests"
)]

mod comparing;
mod ledger;
mod optimum;
mod pools;
mod rivals;
mod same_as_plan;
mod schedules;
mod sweeping;
mod traces;
