//! `status`: what is.

use crate::client::{Address, Daemon, wait};
use crate::exit::{Exit, OrExit, Outcome};
use crate::journal;
use crate::out::{self, Format, Terminal};
use crate::render::{self, clock};
use autoscaler_engine::{FleetStatus, Status};
use fleet::{FleetName, Timestamp};
use serde::Serialize;
use std::path::PathBuf;

/// Show what is: every fleet at a glance, or one in full.
///
/// Asks the running daemon. With `--journal` it tells the same from the records in a state directory, as of the newest
/// of them, whether a daemon runs there or not; schedules and most alarms are not in there.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler status
  muster-autoscaler status web
  muster-autoscaler status --format json | jq '.fleets[] | {name, target}'
  muster-autoscaler status --journal /var/lib/muster")]
pub struct Args {
    /// Only this fleet, in full.
    fleet: Option<FleetName>,
    #[command(flatten)]
    address: Address,
    /// Read this state directory in place of asking the daemon.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Args {
    /// Shows it.
    pub fn run(self, terminal: Terminal) -> Outcome {
        if let Some(directory) = &self.journal {
            let status = journal::status(directory, self.fleet.as_ref())?;
            out::say(format_args!(
                "as the journal in {} has it, of {}",
                directory.display(),
                clock(status.at)
            ));
            return match (&self.fleet, status.fleets.first()) {
                (Some(_), Some(one)) => self.show_one(one, status.at, terminal),
                _ => self.show_all(&status, terminal),
            };
        }
        let daemon = Daemon::new(&self.address, None)?;
        let no_query: [(&str, &str); 0] = [];
        let status: Status = wait(daemon.get(&["v1", "fleets"], &no_query))?;
        let Some(name) = &self.fleet else { return self.show_all(&status, terminal) };
        let one: FleetStatus = wait(daemon.get(&["v1", "fleets", name.as_str()], &no_query))?;
        self.show_one(&one, status.at, terminal)
    }

    fn show_all(&self, status: &Status, terminal: Terminal) -> Outcome {
        print(self.format, status, || render::overview(status, terminal.paint()))
    }

    fn show_one(&self, fleet: &FleetStatus, at: Timestamp, terminal: Terminal) -> Outcome {
        print(self.format, fleet, || render::fleet(fleet, at, terminal.paint()))
    }
}

/// Prints data as it was asked for.
pub fn print(format: Format, data: &impl Serialize, text: impl FnOnce() -> String) -> Outcome {
    match format {
        Format::Json => out::print_json(data),
        Format::Text => out::print(&text()),
    }
    .or_exit(Exit::Unavailable, "print what was asked for")?;
    Ok(Exit::Success)
}
