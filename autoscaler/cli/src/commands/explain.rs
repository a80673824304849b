//! `explain`: why.

use super::status::print;
use crate::client::{Address, Daemon, wait};
use crate::exit::{Exit, Failure, Outcome};
use crate::out::{Format, Terminal};
use crate::{journal, render};
use autoscaler::http::api::{Decided, Decisions, DecisionsQuery};
use autoscaler_engine::Status;
use fleet::{FleetName, Timestamp, parse_duration};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Show the arithmetic of a decision in words.
///
/// What was measured and how old it was, the demand that follows, the forecast with its headroom, the capacity
/// that it needs, what bounded it, and what held it back. The last decision, or with `--at` the one that was in
/// force at a moment, made again from the journal. Without a name: every fleet.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler explain web
  muster-autoscaler explain web --at 2026-03-01T08:00:00Z
  muster-autoscaler explain web --at 15m                   a quarter of an hour ago
  muster-autoscaler explain web --last 5                   the last five that were worth keeping
  muster-autoscaler explain --journal /var/lib/muster      after the daemon's end")]
pub struct Args {
    /// Only this fleet.
    fleet: Option<FleetName>,
    /// When: a time in RFC 3339, or how long ago (`15m`).
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    at: Option<Moment>,
    /// The last so many decisions that are worth reading.
    #[arg(long, value_name = "N", conflicts_with_all = ["at", "journal"], default_value_t = 1)]
    last: usize,
    #[command(flatten)]
    address: Address,
    /// Read this state directory in place of asking the daemon.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A moment, as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ago) = parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        Timestamp::parse(text).map(Self::At).map_err(|wrong| format!("{wrong} or a duration such as 15m"))
    }
    fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now - ago,
        }
    }
}

/// One fleet's decisions, oldest first.
#[derive(Debug, Serialize)]
struct Explained {
    fleet: FleetName,
    decisions: Vec<Decided>,
}

impl Args {
    /// Explains.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let explained = match &self.journal {
            Some(directory) => self.read(directory)?,
            None => wait(self.ask())?,
        };
        if explained.iter().all(|fleet| fleet.decisions.is_empty()) {
            return Err(Failure::new(Exit::Usage, "no decision is that old, or none has been made yet"));
        }
        print(self.format, &explained, || {
            let mut texts = Vec::new();
            for Explained { fleet, decisions } in &explained {
                texts.extend(
                    decisions.iter().map(|decided| render::decision(fleet, decided, terminal.paint())),
                );
            }
            texts.join("\n")
        })
    }

    /// From a state directory. Ages count from the newest record: nobody may have been running since.
    fn read(&self, directory: &std::path::Path) -> Result<Vec<Explained>, Failure> {
        let mut explained = Vec::new();
        for (fleet, last) in journal::last_decisions(directory, self.fleet.as_ref())? {
            let decided = match self.at {
                None => Some(last),
                Some(moment) => journal::decision_at(directory, &fleet, moment.before(last.at))?,
            };
            explained.push(Explained { fleet, decisions: decided.into_iter().collect() });
        }
        Ok(explained)
    }

    async fn ask(&self) -> Result<Vec<Explained>, Failure> {
        let daemon = Daemon::new(&self.address, None)?;
        let status: Status = daemon.get(&["v1", "fleets"], &DecisionsQuery::default()).await?;
        let names = match &self.fleet {
            Some(name) => vec![name.clone()],
            None => status.fleets.into_iter().map(|fleet| fleet.name).collect(),
        };
        let query = DecisionsQuery {
            at: self.at.map(|moment| moment.before(status.at).to_string()),
            limit: Some(self.last),
        };
        let mut explained = Vec::new();
        for name in names {
            let Decisions { fleet, decisions } =
                daemon.get(&["v1", "fleets", name.as_str(), "decisions"], &query).await?;
            explained.push(Explained { fleet, decisions });
        }
        Ok(explained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = Timestamp::parse("2026-03-01T12:00:00Z").expect("a time");
        for (text, at) in [
            ("2026-03-01T08:00:00Z", "2026-03-01T08:00:00Z"),
            ("2026-03-01T08:00:00+01:00", "2026-03-01T07:00:00Z"),
            ("15m", "2026-03-01T11:45:00Z"),
            ("0s", "2026-03-01T12:00:00Z"),
        ] {
            assert_eq!(Moment::parse(text).map(|moment| moment.before(now).to_string()), Ok(at.to_owned()));
        }
        for wrong in ["yesterday", "", "08:00", "15"] {
            assert!(Moment::parse(wrong).is_err(), "{wrong:?} was read");
        }
    }
}
