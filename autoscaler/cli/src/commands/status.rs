//! `status`: what is.

use crate::client::{Address, Daemon, wait};
use crate::exit::{Exit, OrExit, Outcome};
use crate::out::{self, Format, Terminal};
use crate::{journal, render};
use autoscaler_engine::{FleetStatus, Status};
use fleet::FleetName;
use serde::Serialize;
use std::path::PathBuf;

/// Show what is: every fleet at a glance, or one in full.
///
/// Asks the running daemon. With `--journal` it reads the last decision of every fleet from a state directory
/// instead, whether a daemon runs there or not.
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
            let last = journal::last_decisions(directory, self.fleet.as_ref())?;
            return print(self.format, &last, || {
                last.iter().map(|(name, decided)| render::decision(name, decided, terminal.paint())).collect()
            });
        }
        let daemon = Daemon::new(&self.address, None)?;
        let no_query: [(&str, &str); 0] = [];
        let status: Status = wait(daemon.get(&["v1", "fleets"], &no_query))?;
        let Some(name) = &self.fleet else {
            return print(self.format, &status, || render::overview(&status, terminal.paint()));
        };
        let one: FleetStatus = wait(daemon.get(&["v1", "fleets", name.as_str()], &no_query))?;
        print(self.format, &one, || render::fleet(&one, status.at, terminal.paint()))
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
