//! `rollout`: a new image, or another version of the launch template, reaches a running fleet node by node.

use super::status::print;
use crate::client::{Address, Daemon, Operator, wait};
use crate::exit::{Exit, Outcome};
use crate::out::{self, Format, Terminal};
use crate::render;
use autoscaler::http::api::{ResumeOrder, RolloutOrdered, RolloutStart};
use autoscaler_core::Rollout;
use autoscaler_engine::{FleetStatus, Status};
use clap::{ArgGroup, Subcommand};
use fleet::{FleetName, Timestamp};
use serde::Serialize;

/// Replace a fleet's nodes by ones of a new image, a few at a time, and take that back.
///
/// The first share is replaced and watched, then the others, within the budget of the policy's `rollout` block. It is
/// halted by itself when what is new does not get ready, and outlives the daemon: the next one, or the next leader, goes
/// on. docs/rollout.md says what happens when.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler rollout start web --image ami-0123456789abcdef0 --reason \"kernel fix\"
  muster-autoscaler rollout start web --launch-template-version 7 --reason \"larger disk\"
  muster-autoscaler rollout status web
  muster-autoscaler rollout pause web --reason \"errors went up\"
  muster-autoscaler rollout resume web --reason \"it was the database\"
  muster-autoscaler rollout abort web --reason \"it was not\"")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Start(Start),
    Status(Show),
    Pause(Pause),
    Resume(Resume),
    Abort(Abort),
}

/// Begin a roll-out.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["image", "launch_template_version"]))]
struct Start {
    /// The fleet.
    fleet: FleetName,
    /// The image: a version of the fleet's launch template is made that is like the present one but for it.
    #[arg(long, value_name = "AMI")]
    image: Option<String>,
    /// The number of a version of the fleet's launch template that is there.
    #[arg(long, value_name = "NUMBER")]
    launch_template_version: Option<u64>,
    #[command(flatten)]
    given: Given,
}

/// Show how far roll-outs are: that of one fleet, or all.
///
/// Exits with 0 whether it is under way, halted or ended: the answer says so.
#[derive(Debug, clap::Args)]
struct Show {
    /// Only this fleet.
    fleet: Option<FleetName>,
    #[command(flatten)]
    address: Address,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Begin nothing more: what has been begun ends.
#[derive(Debug, clap::Args)]
struct Pause {
    /// The fleet.
    fleet: FleetName,
    #[command(flatten)]
    given: Given,
}

/// Go on after a halt, an operator's or its own: what is new has its time afresh.
#[derive(Debug, clap::Args)]
struct Resume {
    /// The fleet.
    fleet: FleetName,
    #[command(flatten)]
    given: Given,
}

/// Take it back: the fleet launches the old version again, and what is new is replaced. One that has ended can be taken
/// back, too.
#[derive(Debug, clap::Args)]
struct Abort {
    /// The fleet.
    fleet: FleetName,
    #[command(flatten)]
    given: Given,
}

/// Who gives an order, to whom, and how the answer is printed.
#[derive(Debug, clap::Args)]
struct Given {
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    address: Address,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A fleet's roll-out, as `status` prints it in JSON.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    fleet: &'a FleetName,
    #[serde(flatten)]
    rollout: &'a autoscaler_engine::RolloutStatus,
}

impl Args {
    /// Does what the command line says.
    pub fn run(self, terminal: Terminal) -> Outcome {
        match self.command {
            Command::Start(Start { fleet, image, launch_template_version: version, given }) => {
                let Operator { reason, by, .. } = given.operator.clone();
                given.order(&fleet, "rollout-start", &RolloutStart { image, version, by, reason })
            }
            Command::Status(show) => show.run(terminal),
            Command::Pause(Pause { fleet, given }) => given.simply(&fleet, "rollout-pause"),
            Command::Resume(Resume { fleet, given }) => given.simply(&fleet, "rollout-resume"),
            Command::Abort(Abort { fleet, given }) => given.simply(&fleet, "rollout-abort"),
        }
    }
}

impl Given {
    fn simply(self, fleet: &FleetName, order: &str) -> Outcome {
        let Operator { reason, by, .. } = self.operator.clone();
        self.order(fleet, order, &ResumeOrder { by, reason })
    }

    fn order(self, fleet: &FleetName, order: &str, body: &impl Serialize) -> Outcome {
        let daemon = Daemon::new(&self.address, self.operator.token_file.as_ref())?;
        let ordered: RolloutOrdered = wait(daemon.post(&["v1", "fleets", fleet.as_str(), order], body))?;
        out::say(told(order, &ordered));
        match self.format {
            Format::Json => print(self.format, &ordered, String::new),
            Format::Text => Ok(Exit::Success),
        }
    }
}

/// What an operator reads after an order was taken.
fn told(order: &str, RolloutOrdered { fleet, rollout }: &RolloutOrdered) -> String {
    let Rollout { template, from, to, .. } = rollout;
    let what = match order {
        "rollout-abort" => format!("from version {to} of {template} back to {from}"),
        _ => format!("from version {from} of {template} to {to}"),
    };
    format!("{order} {fleet}: in force and on disk, {what}")
}

impl Show {
    fn run(self, terminal: Terminal) -> Outcome {
        let daemon = Daemon::new(&self.address, None)?;
        let no_query: [(&str, &str); 0] = [];
        let status: Status = wait(daemon.get(&["v1", "fleets"], &no_query))?;
        let fleets = match &self.fleet {
            None => status.fleets,
            // An unknown name is an error, which the daemon tells best.
            Some(name) => vec![wait(daemon.get(&["v1", "fleets", name.as_str()], &no_query))?],
        };
        let with_one = |fleet: &FleetStatus| fleet.rollout.is_some();
        let shown: Vec<&FleetStatus> = fleets.iter().filter(|fleet| with_one(fleet)).collect();
        let data: Vec<Shown<'_>> = shown
            .iter()
            .filter_map(|fleet| Some(Shown { fleet: &fleet.name, rollout: fleet.rollout.as_ref()? }))
            .collect();
        print(self.format, &data, || text(&shown, status.at, terminal))
    }
}

fn text(fleets: &[&FleetStatus], at: Timestamp, terminal: Terminal) -> String {
    if fleets.is_empty() {
        return "nothing was rolled out yet\n".to_owned();
    }
    fleets.iter().map(|fleet| render::rollout(fleet, at, terminal.paint())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_says_which_way_it_goes() {
        let who = ("ops".to_owned(), "kernel".to_owned());
        let at = Timestamp::from_secs(1_800_000_000);
        let rollout = Rollout::begin("lt-1".to_owned(), (3, 7), None, who, at);
        let ordered = RolloutOrdered { fleet: FleetName::new("web"), rollout };
        let start = "rollout-start web: in force and on disk, from version 3 of lt-1 to 7";
        assert_eq!(told("rollout-start", &ordered), start);
        let abort = "rollout-abort web: in force and on disk, from version 7 of lt-1 back to 3";
        assert_eq!(told("rollout-abort", &ordered), abort);
    }
}
