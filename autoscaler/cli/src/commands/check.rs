//! `check`: what CI and `ExecStartPre=` run.

use crate::exit::{Exit, OrExit, Outcome};
use crate::out::{self, Format, Terminal};
use autoscaler::policies::{self, Loaded};
use autoscaler_policy::Problems;
use serde::Serialize;
use std::path::PathBuf;

/// Find everything that is wrong with policy files, at once.
///
/// Reads the files and nothing else: no AWS account, no daemon. Files are checked together, as `run` would load
/// them, so that a fleet which two files name is found, too. Exits with 78 when a file cannot be read or used, and
/// when no file names a fleet; warnings alone are no failure.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler check web.hcl api.hcl
  muster-autoscaler check /etc/muster/policies
  muster-autoscaler check --format json web.hcl | jq -r '.problems[] | \"\\(.file):\\(.line) \\(.message)\"'")]
pub struct Args {
    /// Policy files, and directories whose *.hcl files are policy files.
    #[arg(value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The outcome as JSON.
#[derive(Serialize)]
struct Checked<'a> {
    ok: bool,
    fleets: Vec<&'a str>,
    problems: &'a Problems,
}

impl Args {
    /// Checks the files.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let (fleets, problems) = match policies::load(&self.files) {
            Ok(Loaded { set, .. }) => (set.fleets, set.warnings),
            Err(problems) => (Vec::new(), problems),
        };
        let ok = !problems.has_errors();
        match self.format {
            Format::Json => {
                let fleets = fleets.iter().map(|fleet| fleet.name.as_str()).collect();
                out::print_json(&Checked { ok, fleets, problems: &problems })
            }
            Format::Text => {
                out::say_as_is(&problems.render(terminal.colour_err));
                let names: Vec<_> = fleets.iter().map(|fleet| fleet.name.as_str()).collect();
                let good = terminal.paint().good("ok");
                if ok { out::print(&format!("{good}: {}\n", summary(&names))) } else { Ok(()) }
            }
        }
        .or_exit(Exit::Unavailable, "print what was found")?;
        Ok(if ok { Exit::Success } else { Exit::Configuration })
    }
}

fn summary(names: &[&str]) -> String {
    match names {
        [name] => format!("1 fleet ({name})"),
        names => format!("{} fleets ({})", names.len(), names.join(", ")),
    }
}
