//! The external drive, from outside: by its lines alone.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "tests count few things"
)]

mod days;
mod document;
mod faults;
mod fuzz;
mod stream;
mod support;
mod world;
