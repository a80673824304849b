//! The demo without a screen: a line a decision and a line an hour, for pipes and logs.

use super::frame::{Frame, clock_time};
use crate::out;
use std::io;
use std::time::Duration;

/// Writes lines as time passes.
#[derive(Debug, Default)]
pub struct Plain {
    next_summary: Duration,
}

/// How often the fleet is summed up.
const SUMMARY: Duration = Duration::from_secs(3600);

impl Plain {
    /// A line of text.
    pub fn line(text: &str) -> io::Result<()> {
        out::print(&format!("{text}\n"))
    }

    /// The fleet once an hour.
    pub fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        if frame.elapsed < self.next_summary {
            return Ok(());
        }
        self.next_summary += SUMMARY;
        let truth = &frame.truth;
        let coming = truth.requested + truth.booting;
        let dry: Vec<String> = frame.dry.iter().map(ToString::to_string).collect();
        let dry = if dry.is_empty() { String::new() } else { format!("  dry: {}", dry.join(", ")) };
        let text = format!(
            "{}  load {:>5.2}  serving {:>2}  coming {coming}  utilisation {:>3.0} %{dry}",
            clock_time(frame.elapsed),
            truth.demand,
            truth.in_service,
            truth.utilization * 100.0,
        );
        Self::line(&text)
    }
}
