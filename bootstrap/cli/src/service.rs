//! What systemd is told: the one module that speaks to libsystemd.

use bootstrap_agent::status::Status;
use bootstrap_core::{Condition, State};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use systemd::daemon::{
    STATE_EXTEND_TIMEOUT_USEC, STATE_READY, STATE_STATUS, STATE_STOPPING, STATE_WATCHDOG, notify,
    watchdog_enabled,
};

/// How long a boot may be silent before systemd gives it up; said again with each beat until the node is ready: how long a step
/// may be is its own limit, not the unit's.
const EXTENSION: Duration = Duration::from_secs(120);

/// Whether systemd wants to hear that the loop is alive, and how often; half of that is often enough.
pub fn watchdog() -> Option<Duration> {
    let micros = watchdog_enabled().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros) / 2)
}

/// Says something. Without systemd there is nobody to tell.
fn say(words: &[(&str, String)]) {
    if let Err(error) = notify(words.iter()) {
        tracing::debug!(%error, "could not tell systemd");
    }
}

/// The loop is alive.
pub fn alive(is_ready: bool) {
    let mut words = vec![(STATE_WATCHDOG, "1".to_owned())];
    if !is_ready {
        words.push((STATE_EXTEND_TIMEOUT_USEC, EXTENSION.as_micros().to_string()));
    }
    say(&words);
}

/// How far it is, in words.
pub fn status(status: &Status) {
    say(&[(STATE_STATUS, in_words(status))]);
}

/// The node is ready.
pub fn ready() {
    say(&[(STATE_READY, "1".to_owned())]);
}

/// The agent ends.
pub fn stopping() {
    say(&[(STATE_STOPPING, "1".to_owned()), (STATE_STATUS, "stopping".to_owned())]);
}

/// The file by which the unit says that the instance shuts down, before it stops the agent: root's, in a directory of its own.
const SHUTDOWN: &str = "/run/muster-host/shutdown";

/// The longest that systemd is waited for: it has a whole machine to stop.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Whether the instance shuts down, as the unit says; or systemd itself, where the unit cannot: `ExecStop=` is run for what has
/// started, and an agent has once its node is ready.
pub async fn shuts_down() -> bool {
    if Path::new(SHUTDOWN).exists() {
        return true;
    }
    let mut asked = tokio::process::Command::new("systemctl");
    asked.arg("is-system-running").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(ANSWERS_WITHIN, asked.output()).await {
        Ok(Ok(answer)) => answer.stdout.trim_ascii() == b"stopping",
        Ok(Err(_)) | Err(_) => false,
    }
}

/// One line about all of it.
pub fn in_words(status: &Status) -> String {
    let of = |state: State| {
        let steps = status.report.steps.iter().filter(|step| step.state == state);
        steps.map(|step| step.step.name()).collect::<Vec<_>>().join(", ")
    };
    let mut words = match status.report.condition {
        Condition::Running => format!("booting: {}", of(State::Running)),
        Condition::Done => "ready".to_owned(),
        Condition::Degraded => "ready, degraded".to_owned(),
        Condition::Failed => format!("failed: {}", of(State::Failed)),
    };
    for (state, what) in
        [(State::Retrying, "retrying"), (State::Repairing, "repairing"), (State::Ignored, "without")]
    {
        let steps = of(state);
        if !steps.is_empty() {
            words = format!("{words}; {what} {steps}");
        }
    }
    for notice in &status.notices {
        words = format!("{words}; {notice}");
    }
    words
}
