//! `oracle`: what could have been had at best, and what the rest is lost to.

use crate::exit::{Exit, OrExit, Outcome};
use crate::lab::{Format, Load, Loaded, Watch, Who, World, runners};
use crate::out::{self, Terminal};
use crate::render::{self, OfTrace, Split};
use autoscaler_lab::regret::regret;
use autoscaler_lab::{Bench, Runner, Setting, oracle};

/// Show the clairvoyant optimum for recorded load: its cost, its schedule, and what a policy's cost above it is lost to.
///
/// The optimum knows demand in advance and never lets it exceed the target; like everybody it pays for instances while
/// they boot. A policy's cost above it is split into delay (it sees late, and decides a boot ahead), whole instances,
/// forecast error with the headroom against it, holding on to what is not needed, and interruptions. The parts add up;
/// one that is negative was saved, mostly by running hotter than the target.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler oracle
  muster-autoscaler oracle --trace load.csv --policy web.hcl --runner muster,aws-tt
  muster-autoscaler oracle --trace load.csv --format csv > schedule.csv
  muster-autoscaler oracle --trace load.csv --format json | jq '.[] | {trace, unit_hours, splits}'")]
pub struct Args {
    #[command(flatten)]
    load: Load,
    /// Whose regret is split; several are separated by commas.
    #[arg(long = "runner", value_name = "NAME", value_delimiter = ',', default_value = "muster",
          value_parser = runners())]
    runners: Vec<Who>,
    #[command(flatten)]
    world: World,
    /// How to print; CSV is the schedule, a row a change.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Args {
    /// Shows it.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let loaded = self.load.read(terminal)?;
        let setting = self.world.setting(&loaded.chosen)?;
        let watch = Watch::begin()?;
        let runners = Who::named(&self.runners);
        let mut all = Vec::new();
        for index in 0..loaded.traces.len() {
            // What is not finished is not shown.
            if watch.interrupted() {
                break;
            }
            all.push(of_trace(&loaded, index, &runners, &setting, self.format, &watch));
        }
        match self.format {
            Format::Table => out::print(&render::regrets(&all, terminal.paint())),
            Format::Json => out::print_json(&all),
            Format::Csv => out::print(&render::schedules_csv(&all)),
        }
        .or_exit(Exit::Unavailable, "print the optimum")?;
        Ok(watch.exit())
    }
}

fn of_trace(
    loaded: &Loaded,
    index: usize,
    runners: &[Runner],
    setting: &Setting,
    format: Format,
    watch: &Watch,
) -> OfTrace {
    let trace = &loaded.traces[index];
    let policy = &loaded.chosen.policy;
    let optimum = oracle::schedule(&Bench::new(trace, policy, setting));
    // The schedule alone is quick; whoever only wants that need not wait for the rest.
    let wanted = runners.iter().filter(|_| format != Format::Csv && !watch.interrupted());
    let splits = wanted.map(|runner| Split {
        runner: *runner,
        regret: regret(trace, loaded.history(index), *runner, policy, setting),
    });
    OfTrace {
        trace: trace.name.clone(),
        start: trace.start,
        boot: setting.boot,
        seconds: trace.seconds(),
        unit_hours: optimum.unit_hours,
        splits: splits.collect(),
        schedule: render::compact(&optimum.units),
    }
}
