//! `explain-policy`: what a policy comes to.

use super::status::print;
use crate::commands::run::load;
use crate::exit::{Exit, Failure, Outcome};
use crate::out::{Format, Paint, Terminal};
use crate::render::Table;
use autoscaler_policy::{Explained, Origin};
use fleet::ports::Clock;
use fleet::{FleetName, Timestamp};
use fleet_clock::SystemClock;
use std::path::PathBuf;

/// Show every effective value of policies, and where it comes from: a file, a schedule, or the default.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler explain-policy web.hcl
  muster-autoscaler explain-policy web.hcl --at 2026-03-02T09:00:00+01:00     with the schedules of that time
  muster-autoscaler explain-policy /etc/muster/policies --fleet web --format json")]
pub struct Args {
    /// Policy files, and directories whose *.hcl files are policy files.
    #[arg(value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    /// Only this fleet.
    #[arg(long, value_name = "NAME")]
    fleet: Option<FleetName>,
    /// When, in RFC 3339; now where it is not given.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    at: Option<Timestamp>,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Args {
    /// Shows it.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let policies = load(&self.files, terminal)?.set;
        let at = self.at.unwrap_or_else(|| SystemClock::new().wall());
        let wanted = |name: &FleetName| self.fleet.as_ref().is_none_or(|only| only == name);
        let fleets: Vec<Vec<Explained>> = policies
            .fleets
            .iter()
            .filter(|fleet| wanted(&fleet.name))
            .map(|fleet| autoscaler_policy::explain(fleet, at))
            .collect();
        if let (Some(name), true) = (&self.fleet, fleets.is_empty()) {
            return Err(Failure::new(Exit::Usage, format_args!("no policy names a fleet {name}")));
        }
        print(self.format, &fleets.concat(), || {
            let texts: Vec<String> = fleets.iter().map(|values| text(values, terminal.paint())).collect();
            texts.join("\n")
        })
    }
}

fn text(values: &[Explained], paint: Paint) -> String {
    let mut table = Table::default();
    for Explained { path, value, origin } in values {
        let (from, painted) = match origin {
            Origin::Default => ("default".to_owned(), paint.faint("default")),
            Origin::File { file, line } => {
                let place = format!("{file}:{line}");
                (place.clone(), paint.good(place))
            }
            Origin::Schedule { name } => {
                let schedule = format!("schedule {name}");
                (schedule.clone(), paint.odd(schedule))
            }
        };
        table.row([(path.clone(), path.clone()), (value.clone(), paint.name(value)), (from, painted)]);
    }
    table.render()
}
