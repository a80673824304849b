//! `plan`: what would be done, and why.

use crate::aws::Where;
use crate::commands::run::{load, not_started};
use crate::commands::status::print;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::out::{self, Format, Terminal};
use crate::render;
use autoscaler::{Daemon, DaemonConfig, Handle};
use autoscaler_engine::{Alarm, FleetStatus, Status};
use fleet::{DurationText, ErrorClass, FleetName, parse_duration};
use fleet_clock::SystemClock;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The distance of cycles here: nobody waits ten seconds for the one that has seen everything.
const CYCLE: Duration = Duration::from_secs(1);

/// Observe the fleets, plan one cycle, and print what would be done and why. Changes nothing.
///
/// Runs the daemon's own loop in this process, without a state directory and with every write withheld: fleets and
/// instances are described, utilisation is read from CloudWatch or Prometheus (agents push to the daemon alone),
/// and the decision that follows is printed with its arithmetic. What could not be asked is told with its cause; then
/// the exit code is 77 where it is not allowed, else 69.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler plan --policy web.hcl
  muster-autoscaler plan --policy /etc/muster/policies web --region eu-west-1
  muster-autoscaler plan --policy web.hcl --format json | jq '.fleets[].decided.plan.actions'")]
pub struct Args {
    /// Only this fleet.
    fleet: Option<FleetName>,
    /// Policy file, or directory whose *.hcl files are policy files. May be given several times.
    #[arg(long = "policy", value_name = "FILE|DIR", required = true)]
    policies: Vec<PathBuf>,
    #[command(flatten)]
    place: Where,
    /// How long to wait for AWS.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Args {
    /// Plans.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let policies = load(&self.policies, terminal)?.set;
        if let Some(name) = &self.fleet
            && !policies.fleets.iter().any(|fleet| fleet.name == *name)
        {
            return Err(Failure::new(Exit::Usage, format_args!("no policy names a fleet {name}")));
        }
        let mut status = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .or_exit(Exit::TryAgain, "start the runtime")?
            .block_on(self.observe())?;
        status.fleets.retain(|fleet| self.fleet.as_ref().is_none_or(|name| fleet.name == *name));
        print(self.format, &status, || {
            let mut texts: Vec<String> = status.fleets.iter().map(|fleet| text(fleet, terminal)).collect();
            texts.extend(Some(render::troubles(&status, terminal.paint())).filter(|text| !text.is_empty()));
            texts.join("\n")
        })?;
        Ok(worst(&status))
    }

    async fn observe(&self) -> Result<Status, Failure> {
        let engine = autoscaler_engine::Config {
            region: self.place.region(),
            dry_run: true,
            cycle: CYCLE,
            ..autoscaler_engine::Config::default()
        };
        let config = DaemonConfig {
            policies: self.policies.clone(),
            state: None,
            watch_every: Duration::ZERO,
            engine,
            ..DaemonConfig::default()
        };
        let connect = Arc::new(self.place.connect());
        let daemon =
            Daemon::start(config, connect, Arc::new(SystemClock::new())).await.map_err(not_started)?;
        let handle = daemon.handle();
        let decided = timeout(self.timeout, decided(&handle)).await;
        if decided.is_err() {
            out::say(format_args!("AWS has not told everything within {}", DurationText(self.timeout)));
        }
        let status = handle.status().await.or_exit(Exit::Bug, "ask the planner")?;
        daemon.kill().await;
        Ok(status)
    }
}

/// Waits for the decisions that follow from everything that was asked for at the start.
async fn decided(handle: &Handle) -> Result<(), Failure> {
    // Idle for the first time: whatever the first look asked for has been answered, or has failed.
    handle.idle().await;
    let answered = handle.clock().wall();
    loop {
        let status = handle.status().await.or_exit(Exit::Bug, "ask the planner")?;
        let done = |fleet: &FleetStatus| fleet.decided.as_ref().is_some_and(|decided| decided.at > answered);
        if status.fleets.iter().all(done) {
            return Ok(());
        }
        let clock = handle.clock();
        clock.sleep_until(clock.monotonic() + CYCLE / 4).await;
    }
}

fn text(fleet: &FleetStatus, terminal: Terminal) -> String {
    let paint = terminal.paint();
    let mut text = match &fleet.decided {
        Some(decided) => render::decision(&fleet.name, decided, paint),
        None => format!("{}: nothing was decided\n", paint.name(&fleet.name)),
    };
    for raised in &fleet.alarms {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {}", paint.bad(render::alarm_text(&raised.alarm)));
    }
    text
}

/// What the alarms mean for the exit code: a plan that could not look is no plan.
fn worst(status: &Status) -> Exit {
    let alarms = || {
        status.fleets.iter().flat_map(|fleet| &fleet.alarms).chain(&status.alarms).map(|raised| &raised.alarm)
    };
    if alarms().any(|alarm| matches!(alarm, Alarm::Panicked { .. } | Alarm::Refused { .. })) {
        Exit::Bug
    } else if alarms().any(|alarm| matches!(alarm, Alarm::Denied { .. }))
        || status.failing.iter().any(|failing| failing.class == ErrorClass::Denied)
    {
        Exit::Denied
    } else if status.fleets.iter().any(|fleet| fleet.seen.is_none()) {
        Exit::Unavailable
    } else {
        Exit::Success
    }
}
