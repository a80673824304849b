//! `pause`, `resume` and `override`: what an operator does in an incident. Each expires, survives a restart of the
//! daemon, shows in `status` and is journaled with who and why.

use crate::client::{Address, Daemon, Operator, wait};
use crate::exit::{Exit, Outcome};
use crate::out;
use crate::render::clock;
use autoscaler::http::api::{Ordered, OverrideOrder, PauseOrder, ResumeOrder};
use clap::{ArgGroup, Args};
use fleet::{FleetName, Utilization, parse_duration};
use serde::Serialize;
use std::time::Duration;

/// Which fleets an order is for.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The fleet.
    fleet: Option<FleetName>,
    /// Every fleet.
    #[arg(long)]
    all: bool,
}

/// Leave a fleet alone for a while: it is still watched, and nothing is changed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler pause web --for 1h --reason \"database failover\"
  muster-autoscaler pause --all --for 30m --reason \"region is on fire\"")]
pub struct Pause {
    #[command(flatten)]
    which: Which,
    /// For how long, such as 30m or 1h; at most 30d.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    lasts: Duration,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    address: Address,
}

/// End a pause; take a fleet over again that was left to somebody else who writes to it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler resume web --reason \"failover is done\"
  muster-autoscaler resume --all --reason \"fire is out\"")]
pub struct Resume {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    address: Address,
}

/// Bend a fleet's policy for a while. Replaces an override that is in force.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["min", "max", "target", "end"]))]
#[command(after_long_help = "\
Examples:
  muster-autoscaler override web --min 8 --for 1h --reason \"launch\"
  muster-autoscaler override web --min 4 --max 40 --for 6h --reason \"sale\"
  muster-autoscaler override web --target 60% --for 2h --reason \"new release, unknown load\"
  muster-autoscaler override web --end --reason \"launch is over\"")]
pub struct Override {
    /// The fleet.
    fleet: FleetName,
    /// Never fewer than so many units meanwhile.
    #[arg(long, value_name = "UNITS")]
    min: Option<u32>,
    /// Never more than so many units meanwhile.
    #[arg(long, value_name = "UNITS")]
    max: Option<u32>,
    /// The CPU utilisation to hold meanwhile, such as 60%.
    #[arg(long, value_name = "SHARE")]
    target: Option<Utilization>,
    /// For how long, such as 30m or 1h; at most 30d.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, required_unless_present = "end")]
    lasts: Option<Duration>,
    /// End the override that is in force.
    #[arg(long, conflicts_with_all = ["min", "max", "target", "lasts"])]
    end: bool,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    address: Address,
}

impl Pause {
    /// Gives the order.
    pub fn run(self) -> Outcome {
        let Operator { reason, by, .. } = self.operator.clone();
        let order = PauseOrder { lasts: exact(self.lasts), by, reason };
        give(self.which.fleet.as_ref(), "pause", &order, &self.operator, &self.address)
    }
}

impl Resume {
    /// Gives the order.
    pub fn run(self) -> Outcome {
        let Operator { reason, by, .. } = self.operator.clone();
        give(self.which.fleet.as_ref(), "resume", &ResumeOrder { by, reason }, &self.operator, &self.address)
    }
}

impl Override {
    /// Gives the order.
    pub fn run(self) -> Outcome {
        let Operator { reason, by, .. } = self.operator.clone();
        let Some(lasts) = self.lasts else {
            let order = ResumeOrder { by, reason };
            return give(Some(&self.fleet), "end-override", &order, &self.operator, &self.address);
        };
        let order = OverrideOrder {
            min: self.min,
            max: self.max,
            target: self.target.map(|target| target.to_string()),
            lasts: exact(lasts),
            by,
            reason,
        };
        give(Some(&self.fleet), "override", &order, &self.operator, &self.address)
    }
}

/// A duration as the daemon reads it, whole: for people, two units would do.
fn exact(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Gives an order for one fleet, or for all; says when it ends.
fn give(
    fleet: Option<&FleetName>,
    order: &str,
    body: &impl Serialize,
    operator: &Operator,
    address: &Address,
) -> Outcome {
    let daemon = Daemon::new(address, operator.token_file.as_ref())?;
    let path = match fleet {
        Some(name) => vec!["v1", "fleets", name.as_str(), order],
        None => vec!["v1", "all", order],
    };
    let ordered: Ordered = wait(daemon.post(&path, body))?;
    out::say(told(order, &ordered));
    Ok(Exit::Success)
}

/// What an operator reads after an order was taken.
fn told(order: &str, Ordered { fleet, until, nothing_to_end }: &Ordered) -> String {
    let whom = fleet.as_ref().map_or_else(|| "every fleet".to_owned(), ToString::to_string);
    match until {
        _ if *nothing_to_end => format!("{order} {whom}: there was nothing to end"),
        Some(until) => format!("{order} {whom}: in force and on disk, until {}", clock(*until)),
        None => format!("{order} {whom}: in force and on disk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::Timestamp;

    #[test]
    fn an_order_that_ended_nothing_says_so() {
        let web = Some(FleetName::new("web"));
        let until = Some(Timestamp::from_secs(1_800_000_000));
        for (order, ordered, says) in [
            (
                "pause",
                Ordered { fleet: web.clone(), until, nothing_to_end: false },
                "pause web: in force and on disk, until 2027-01-15T08:00:00Z",
            ),
            (
                "resume",
                Ordered { fleet: None, until: None, nothing_to_end: false },
                "resume every fleet: in force and on disk",
            ),
            (
                "end-override",
                Ordered { fleet: web, until: None, nothing_to_end: true },
                "end-override web: there was nothing to end",
            ),
        ] {
            assert_eq!(told(order, &ordered), says);
        }
    }
}
