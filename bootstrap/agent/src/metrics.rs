//! What Prometheus is told: a file for node_exporter's textfile collector, so that the agent listens nowhere.

use crate::status::{Status, replace};
use bootstrap_core::{OnFailure, Step};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// The directory for `--collector.textfile.directory`.
pub fn directory(run: &Path) -> PathBuf {
    run.join("metrics")
}

/// Writes the file, whole; anybody may read it.
pub fn write(status: &Status, run: &Path) -> io::Result<()> {
    replace(&directory(run).join("muster_bootstrap.prom"), render(status).as_bytes(), 0o644)
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
    fn series(&mut self, name: &str, labels: &str, value: f64) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// The file, in Prometheus's text format.
pub fn render(status: &Status) -> String {
    let mut text = Text(String::new());
    let condition = status.report.condition.exit_code();
    text.family(
        "muster_bootstrap_condition",
        "gauge",
        "What `status` exits with: 0 done or running, 1 failed, 2 degraded.",
    );
    text.series("muster_bootstrap_condition", "", condition.into());
    text.family("muster_bootstrap_ready", "gauge", "Whether the node was ready since the agent started.");
    text.series("muster_bootstrap_ready", "", if status.ready.is_some() { 1.0 } else { 0.0 });
    if let (Some(who), Some(ready)) = (&status.who, status.ready) {
        text.family(
            "muster_bootstrap_launch_to_ready_seconds",
            "gauge",
            "From the instance's launch to the first time that it was ready.",
        );
        text.series("muster_bootstrap_launch_to_ready_seconds", "", ready.since(who.launched).as_secs_f64());
    }
    text.family(
        "muster_bootstrap_step_seconds",
        "gauge",
        "How long a step took until it stood first, or has taken so far.",
    );
    for step in &status.report.steps {
        text.series("muster_bootstrap_step_seconds", &label(step.step), step.seconds.unwrap_or_default());
    }
    text.family("muster_bootstrap_step_failures", "gauge", "Failures of a step in a row, up to now.");
    for step in &status.report.steps {
        text.series("muster_bootstrap_step_failures", &label(step.step), step.failures.into());
    }
    text.family("muster_bootstrap_step_state", "gauge", "1 for the state that a step is in.");
    for step in &status.report.steps {
        let labels = format!("{},state=\"{}\"", label(step.step), step.state);
        text.series("muster_bootstrap_step_state", &labels, 1.0);
    }
    text.family("muster_bootstrap_consequence", "gauge", "1 for the consequence that a step's failure has.");
    for step in &status.report.steps {
        if let Some(policy) = step.policy {
            let labels = format!("{},policy=\"{}\"", label(step.step), OnFailure::name(policy));
            text.series("muster_bootstrap_consequence", &labels, 1.0);
        }
    }
    text.family("muster_bootstrap_alarms", "gauge", "How many things an operator has to look at.");
    text.series("muster_bootstrap_alarms", "", count(status.alarms.len()));
    text.family("muster_bootstrap_notices", "gauge", "How many notices hold for this instance.");
    text.series("muster_bootstrap_notices", "", count(status.notices.len()));
    if let Some(drift) = &status.drift {
        text.family(
            "muster_bootstrap_drift_failures",
            "gauge",
            "Runs of AWX's job after the boot that failed in a row.",
        );
        text.series("muster_bootstrap_drift_failures", "", drift.failures.into());
        text.family(
            "muster_bootstrap_drift_timestamp_seconds",
            "gauge",
            "When AWX's job was last asked for after the boot.",
        );
        let at = std::time::Duration::from_millis(u64::try_from(drift.at.millis()).unwrap_or_default());
        text.series("muster_bootstrap_drift_timestamp_seconds", "", at.as_secs_f64());
    }
    text.family("muster_bootstrap_updated_timestamp_seconds", "gauge", "When this file was written.");
    let at = std::time::Duration::from_millis(u64::try_from(status.updated.millis()).unwrap_or_default());
    text.series("muster_bootstrap_updated_timestamp_seconds", "", at.as_secs_f64());
    text.0
}

fn label(step: Step) -> String {
    format!("step=\"{step}\"")
}

/// A count that a float holds exactly.
fn count(of: usize) -> f64 {
    u32::try_from(of).unwrap_or(u32::MAX).into()
}
