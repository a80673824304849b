//! The commands.

pub mod bake;
pub mod channels;
pub mod generate;
pub mod janitor;
pub mod publish;
pub mod verify;

use fleet::parse_duration;
use std::time::Duration;

/// A duration of the command line: `90s`, `30d`.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}
