//! Tests of the planner, the checker and the sizing kernel through their public face.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "figures of small simulations"
)]
#![allow(clippy::cast_sign_loss, clippy::cast_possible_wrap, reason = "figures of small simulations")]
#![allow(dead_code, reason = "the examples share the support, and use other parts of it")]

mod books;
mod called_off;
mod checker;
mod drains;
mod fallback;
mod golden;
mod groups;
mod idle;
mod notices;
mod planner;
mod properties;
mod removals;
mod rollout;
mod room;
mod sizing;
mod support;
mod unseen;
