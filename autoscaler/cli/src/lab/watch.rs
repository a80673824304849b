//! Long work: how far it is, and what Ctrl-C does to it.

use crate::exit::{Exit, Failure, OrExit};
use crate::out;
use autoscaler_lab::sweep::Progress;
use fleet::DurationText;
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long work takes before anything is said of it, and between two words: a line that flickers helps nobody.
const QUIET: Duration = Duration::from_millis(200);

/// How long a line of progress is, with the blanks that wipe out the one before: not every terminal knows escapes.
const WIDTH: usize = 70;

/// Watches over work: tells a terminal how far it is, and stops it at Ctrl-C.
pub struct Watch {
    clock: SystemClock,
    stop: Arc<AtomicBool>,
    terminal: bool,
    /// What is being done, and since when.
    work: Mutex<(&'static str, Duration)>,
    /// When something was last said, in milliseconds of the monotonic clock; 0: never.
    said: AtomicU64,
}

impl Watch {
    /// Begins to watch. From now on the first Ctrl-C stops the work, and the second the program.
    pub fn begin() -> Result<Self, Failure> {
        let clock = SystemClock::new();
        let begun = clock.monotonic();
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Self {
            clock,
            work: Mutex::new(("runs", begun)),
            stop: Arc::clone(&stop),
            terminal: io::stderr().is_terminal(),
            said: AtomicU64::new(0),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .or_exit(Exit::TryAgain, "listen to signals")?;
        // Registered before this returns, so that no Ctrl-C is missed.
        let signal = {
            let _within = runtime.enter();
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        };
        let mut signal = signal.or_exit(Exit::Bug, "listen to signals")?;
        // It ends with the program.
        std::thread::spawn(move || {
            runtime.block_on(async {
                signal.recv().await;
                stop.store(true, Ordering::Relaxed);
                signal.recv().await;
            });
            std::process::exit(i32::from(Exit::Interrupted as u8));
        });
        Ok(watch)
    }

    /// What the work looks at to know whether it shall stop.
    pub fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// Whether somebody pressed Ctrl-C.
    pub fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Goes on to other work, which has a rate of its own.
    ///
    /// * `what`: what is counted from now on, in the plural; at first, runs are.
    pub fn next(&self, what: &'static str) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = (what, self.clock.monotonic());
    }

    /// Tells how far it is.
    pub fn progress(&self, progress: Progress) {
        if !self.terminal {
            return;
        }
        let now = self.clock.monotonic();
        let since = |earlier: Duration| now.saturating_sub(earlier);
        let said = Duration::from_millis(self.said.load(Ordering::Relaxed));
        let (what, begun) = *self.work.lock().unwrap_or_else(PoisonError::into_inner);
        if since(begun) < QUIET || since(said) < QUIET {
            return;
        }
        self.said.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        out::say_as_is(&format!("\r{:WIDTH$}", line(progress, what, since(begun))));
    }

    /// Says no more: the line is cleared for whatever comes next.
    pub fn end(&self) {
        if self.terminal && self.said.load(Ordering::Relaxed) > 0 {
            out::say_as_is(&format!("\r{:WIDTH$}\r", ""));
        }
    }

    /// The exit code of work that came to an end, or was brought to one.
    pub fn exit(&self) -> Exit {
        if self.interrupted() { Exit::Interrupted } else { Exit::Success }
    }
}

/// How far it is, how fast, and how long it will take.
fn line(progress: Progress, what: &str, elapsed: Duration) -> String {
    let Progress { done, jobs, days_done, days } = progress;
    let rate = days_done / elapsed.as_secs_f64().max(1e-3);
    let share = if days > 0.0 { 100.0 * days_done / days } else { 100.0 };
    let left = Duration::try_from_secs_f64(((days - days_done) / rate).ceil()).unwrap_or_default();
    format!("{done}/{jobs} {what}, {share:.0} %, {rate:.0} days/s, {} left", DurationText(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_a_rate_and_the_time_that_is_left() {
        let progress = Progress { done: 3, jobs: 12, days_done: 50.0, days: 200.0 };
        assert_eq!(line(progress, "runs", Duration::from_secs(2)), "3/12 runs, 25 %, 25 days/s, 6s left");
        let nothing = line(Progress::default(), "fronts", Duration::ZERO);
        assert_eq!(nothing, "0/0 fronts, 100 %, 0 days/s, 0s left");
    }
}
