//! `replay`: the past, planned again.

use super::status::print;
use crate::exit::{Exit, OrExit, Outcome};
use crate::journal;
use crate::out::{Format, Terminal};
use crate::render::counted;
use autoscaler_engine::{Differs, Divergence, Replayed};
use autoscaler_journal::Start;
use fleet::FleetName;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// How many divergences of a fleet are shown to people; JSON has them all.
const SHOWN: usize = 10;

/// Plan every recorded cycle again, and compare byte for byte.
///
/// Folds the observations in a journal through the planner of this very program. What was decided by the same
/// version comes out the same; where it does not, the exit code is 70 and the cycles are shown. Changes nothing,
/// and may run beside the daemon that writes the journal.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler replay --journal /var/lib/muster
  muster-autoscaler replay web --journal /var/lib/muster --format json")]
pub struct Args {
    /// Only this fleet.
    fleet: Option<FleetName>,
    /// The state directory whose journal is read.
    #[arg(long, value_name = "DIR")]
    journal: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What a fleet's replay found.
#[derive(Debug, Serialize)]
struct OfFleet {
    fleet: FleetName,
    #[serde(rename = "replay")]
    replayed: Replayed,
}

impl Args {
    /// Replays.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let reader = journal::open(&self.journal)?;
        let mut found = Vec::new();
        for fleet in journal::fleets(&reader, &self.journal, self.fleet.as_ref())? {
            let mut damage = None;
            let entries = reader.entries(&fleet, Start::Oldest).map_while(|entry| match entry {
                Ok(entry) => Some(entry),
                Err(error) => {
                    damage = Some(error);
                    None
                }
            });
            let replayed = autoscaler_engine::replay(entries, autoscaler_core::plan);
            damage.map_or(Ok(()), Err).or_exit(
                Exit::Unavailable,
                format_args!("read the journal of {fleet} to its end ({} cycles were read)", replayed.cycles),
            )?;
            found.push(OfFleet { fleet, replayed });
        }
        let same = found.iter().all(|of| of.replayed.divergences.is_empty());
        print(self.format, &found, || found.iter().map(|of| text(of, terminal)).collect())?;
        Ok(if same { Exit::Success } else { Exit::Bug })
    }
}

fn text(of: &OfFleet, terminal: Terminal) -> String {
    let paint = terminal.paint();
    let OfFleet { fleet, replayed: Replayed { cycles, skipped, checkpoints: _, divergences } } = of;
    let cycles = usize::try_from(*cycles).unwrap_or(usize::MAX);
    let mut text = format!("{}: {} planned again, ", paint.name(fleet), counted(cycles, "cycle"));
    text += &match divergences.len() {
        0 => paint.good("all the same"),
        different => paint.bad(format_args!("{different} came out differently")),
    };
    if *skipped > 0 {
        let _ = write!(text, " ({skipped} records before the first checkpoint were left out)");
    }
    text.push('\n');
    for Divergence { at, what, recorded, replayed, .. } in divergences.iter().take(SHOWN) {
        // Writing to a `String` cannot fail.
        let _ = match what {
            Differs::Plan => writeln!(text, "  {at}: {} then, {} now", steps(recorded), steps(replayed)),
            other => writeln!(text, "  {at}: {}", differs(*other)),
        };
    }
    if divergences.len() > SHOWN {
        let _ = writeln!(text, "  … and {} more", divergences.len() - SHOWN);
    }
    text
}

const fn differs(what: Differs) -> &'static str {
    match what {
        Differs::Plan => "another plan",
        Differs::Memory => "the same plan, but another memory of it",
        Differs::Report => "the same plan, explained differently",
        Differs::Checkpoint => "the records do not fold to the checkpoint",
        Differs::Panic => "the planner panics now and did not then, or the other way round",
    }
}

fn steps(plan: &autoscaler_core::Plan) -> String {
    counted(plan.actions.len(), "step")
}
