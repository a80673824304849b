//! `plan`, `status`, `analyze`.

use crate::cli::Format;
use crate::exit::{Exit, Failure, OrExit as _, Outcome};
use crate::{out, run};
use bootstrap_agent::node::Directories;
use bootstrap_agent::status::{Author, Status};
use bootstrap_agent::steps::Said;
use bootstrap_agent::units;
use bootstrap_config::{Layer, duration_text, load};
use bootstrap_core::{Condition, Step, blame, critical_chain};
use fleet::ports::Clock as _;
use fleet_clock::SystemClock;
use serde_json::json;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How often a status is looked for while one waits: it is a file.
const LOOKS: Duration = Duration::from_millis(100);

/// `plan`: what the files say now, and over it what parameters and tags said when the agent last read them.
pub fn plan(directories: &Directories, format: Format) -> Outcome {
    let (files, _) = run::files(directories)?;
    let mut layers: Vec<Layer> = files.into_iter().map(Layer::Image).collect();
    // Without it, what is shown would be what no agent goes by.
    let exit = |error: &io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Unavailable,
    };
    let said = Said::read(&directories.run).map_err(|error| {
        let why = "root and the agent may read it; a restart of muster-bootstrap writes it anew";
        Failure::new(
            exit(&error),
            format_args!("failed to read what parameters and tags say: {error} ({why})"),
        )
    })?;
    match &said {
        Some(said) => layers.extend(said.layers()),
        None => out::say("files alone: what parameters and tags say is known once the agent has run"),
    }
    let loaded = load(&layers).map_err(|problems| {
        out::say(problems.render(false).trim_end());
        let words = if said.is_some() {
            "this is no configuration"
        } else {
            "the files alone are no whole configuration; parameters may say what is missing"
        };
        Failure::new(Exit::Configuration, words)
    })?;
    let faults =
        units::faults(Path::new("/"), &loaded.settings).or_exit(Exit::Denied, "look at the units")?;
    for fault in &faults {
        out::say(fault);
    }
    let plans = loaded.settings.plans();
    if format == Format::Json {
        let values: Vec<_> = loaded
            .values
            .iter()
            .map(
                |value| json!({"path": value.path, "value": value.value, "origin": value.origin.to_string()}),
            )
            .collect();
        let steps: Vec<_> = Step::ALL
            .into_iter()
            .map(|step| {
                let plan = &plans[&step];
                json!({"step": step, "wanted": plan.wanted, "after": step.after(), "on_failure": plan.on_failure})
            })
            .collect();
        out::print_json(&json!({"values": values, "steps": steps})).or_exit(Exit::Unavailable, "print")?;
        return Ok(Exit::Done);
    }
    let mut text = String::from("STEP           AFTER                     DEADLINE  ON FAILURE\n");
    for step in Step::ALL {
        let plan = &plans[&step];
        let after: Vec<&str> = step.after().iter().map(|step| step.name()).collect();
        let after = if after.is_empty() { "-".to_owned() } else { after.join(", ") };
        // Writing to a `String` cannot fail.
        let _ = if plan.wanted {
            let deadline = duration_text(plan.retry.deadline);
            writeln!(text, "{:<14} {after:<25} {deadline:<9} {}", step.name(), plan.on_failure.name())
        } else {
            writeln!(text, "{:<14} {after:<25} not wanted", step.name())
        };
    }
    let width = loaded.values.iter().map(|value| value.path.len()).max().unwrap_or_default();
    text.push('\n');
    for value in &loaded.values {
        let _ = writeln!(text, "{:<width$} = {}  # {}", value.path, value.value, value.origin);
    }
    out::print(&text).or_exit(Exit::Unavailable, "print")?;
    Ok(Exit::Done)
}

/// `status`.
pub fn status(directories: &Directories, wait: bool, timeout: Option<Duration>, format: Format) -> Outcome {
    let clock = SystemClock::new();
    loop {
        let status = Status::read(&directories.run).or_exit(Exit::Unavailable, "read the status")?;
        let author = status.as_ref().map(|status| status.author(clock.wall()));
        // What is left of an agent that is gone is nobody's word: systemd starts another one.
        let is_final = author == Some(Author::Works)
            && status.as_ref().is_some_and(|status| status.report.condition.is_final());
        if wait && !is_final {
            if timeout.is_some_and(|timeout| clock.monotonic() >= timeout) {
                let words = status.zip(author).map_or_else(
                    || "the agent has not run since the boot".to_owned(),
                    |(status, author)| text(&status, author),
                );
                return Err(Failure::new(
                    Exit::TryAgain,
                    format_args!("it is not done yet:\n{}", words.trim_end()),
                ));
            }
            thread::sleep(LOOKS);
            continue;
        }
        let Some((status, author)) = status.zip(author) else {
            return Err(Failure::new(
                Exit::Failed,
                "the agent has not run since the boot: systemctl start muster-bootstrap",
            ));
        };
        match format {
            Format::Json => {
                let mut whole = serde_json::to_value(&status).or_exit(Exit::Bug, "write JSON")?;
                whole["agent"] = json!(author);
                out::print_json(&whole)
            }
            Format::Text => out::print(&text(&status, author)),
        }
        .or_exit(Exit::Unavailable, "print")?;
        return Ok(exit_of(status.report.condition, author));
    }
}

/// What a status comes to. A boot that was done and that nobody watches any more is no better than degraded, and one that
/// nobody goes on with has failed.
const fn exit_of(condition: Condition, author: Author) -> Exit {
    match (condition, author) {
        (Condition::Failed, _) | (Condition::Running, Author::Hangs | Author::Gone) => Exit::Failed,
        (Condition::Degraded, _) | (Condition::Done, Author::Hangs | Author::Gone) => Exit::Degraded,
        (Condition::Running | Condition::Done, Author::Works) => Exit::Done,
    }
}

fn text(status: &Status, author: Author) -> String {
    let mut text = String::new();
    let alone = match author {
        Author::Works => "",
        Author::Hangs => "THE AGENT HANGS: it has not said anything for too long",
        Author::Gone => "THE AGENT DOES NOT RUN: systemctl status muster-bootstrap",
    };
    if !alone.is_empty() {
        let _ = writeln!(text, "{alone}; this is what it said at {}", status.updated);
    }
    // Writing to a `String` cannot fail.
    let _ = match &status.who {
        Some(who) => writeln!(
            text,
            "{}: {} ({}, {}, {})",
            status.report.condition,
            who.instance,
            who.instance_type.as_deref().unwrap_or("type unknown"),
            who.life_cycle.as_deref().unwrap_or("life cycle unknown"),
            who.image.as_deref().unwrap_or("image unknown"),
        ),
        None => writeln!(text, "{}: which instance this is is not known yet", status.report.condition),
    };
    if let (Some(who), Some(ready)) = (&status.who, status.ready) {
        let _ = writeln!(
            text,
            "ready at {ready}, {:.1} s after its launch",
            ready.since(who.launched).as_secs_f64()
        );
    }
    for notice in &status.notices {
        let _ = writeln!(text, "NOTICE {notice}");
    }
    for alarm in &status.alarms {
        let _ = writeln!(text, "ALARM {alarm}");
    }
    if let Some(drift) = &status.drift {
        let _ = writeln!(text, "drift: {} at {}", drift.outcome, drift.at);
    }
    text.push('\n');
    for step in &status.report.steps {
        let seconds = step.seconds.map_or(String::new(), |seconds| format!("{seconds:.1} s"));
        let _ = writeln!(text, "{:<14} {:<10} {seconds:>10}", step.step.name(), step.state.to_string());
        if let Some(waits) = status.waits.get(&step.step) {
            let _ = writeln!(text, "    waits: {waits}");
        }
        if let Some(failure) = &step.failure {
            let policy = step.policy.map_or(String::new(), |policy| format!(" [{}]", policy.name()));
            let _ = writeln!(text, "    {failure}{policy}, {} in a row", step.failures);
            for line in &failure.tail {
                let _ = writeln!(text, "    | {line}");
            }
        }
    }
    if status.hides_tails {
        text.push_str("\nThe last lines of what failed are for root to see.\n");
    }
    harmless(&text)
}

/// A text for a terminal: what others said in it moves no cursor and sets no colours.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// What is shown of the time.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Analyze {
    /// The steps by the time that each took, longest first.
    Blame,
    /// The steps that the boot waited for, one after the other.
    CriticalChain,
}

/// `analyze`.
pub fn analyze(directories: &Directories, what: Analyze) -> Outcome {
    let status = Status::read(&directories.run).or_exit(Exit::Unavailable, "read the status")?;
    let status =
        status.ok_or_else(|| Failure::new(Exit::Unavailable, "the agent has not run since the boot"))?;
    let mut text = String::new();
    match what {
        Analyze::Blame => {
            for (step, seconds) in blame(&status.report) {
                let _ = writeln!(text, "{seconds:>10.3}s {step}");
            }
        }
        Analyze::CriticalChain => {
            for link in critical_chain(&status.report) {
                let _ = writeln!(text, "{:<14} @{} +{:.3}s", link.step.name(), link.ended, link.seconds);
            }
        }
    }
    out::print(&text).or_exit(Exit::Unavailable, "print")?;
    Ok(Exit::Done)
}
