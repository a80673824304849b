//! Text for people, made of what the daemon says.

mod decision;
mod outcomes;
mod regrets;
mod rollout;
mod status;
mod table;
mod trouble;
mod tuned;

pub use autoscaler::alarm_text;
pub use decision::decision;
pub use outcomes::{outcomes, outcomes_csv};
pub use regrets::{OfTrace, Split, compact, regrets, schedules_csv};
pub use rollout::rollout;
pub use status::{fleet, overview};
pub use table::Table;
pub use trouble::troubles;
pub use tuned::{reasons, tuned};

use fleet::{DurationText, Timestamp};
use std::time::Duration;

/// How long ago something was, in whole seconds: `4s ago`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let age = now.since(at);
    if age < Duration::from_secs(1) { "just now".to_owned() } else { format!("{} ago", rounded(age)) }
}

/// How long something has been so: `2h12m`.
pub fn lasting(since: Timestamp, now: Timestamp) -> DurationText {
    rounded(now.since(since))
}

/// How long it is until something: `in 59m`.
pub fn until(at: Timestamp, now: Timestamp) -> String {
    format!("in {}", rounded(at.since(now)))
}

/// Whole seconds: nobody reads milliseconds here.
fn rounded(duration: Duration) -> DurationText {
    DurationText(Duration::from_secs(duration.as_secs()))
}

/// The time without its fraction of a second.
pub fn clock(at: Timestamp) -> Timestamp {
    at.floor(Duration::from_secs(1))
}

/// `1 instance`, `2 instances`.
pub fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests;
