//! `oracle`: what could have been had at best, and what the rest is lost to.

use crate::exit::{Exit, OrExit, Outcome};
use crate::lab::{Format, Load, Loaded, Watch, Who, Work, World, runners};
use crate::out::{self, Terminal};
use crate::render::{self, OfTrace, Split};
use autoscaler_lab::sweep::{each, regrets};
use autoscaler_lab::{Bench, Setting, Trace, oracle};
use std::time::Duration;

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
    #[command(flatten)]
    work: Work,
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
        let all = self.all(&loaded, &setting, &watch);
        watch.end();
        match self.format {
            Format::Table => out::print(&render::regrets(&all, terminal.paint())),
            Format::Json => out::print_json(&all),
            Format::Csv => out::print(&render::schedules_csv(&all)),
        }
        .or_exit(Exit::Unavailable, "print the optimum")?;
        Ok(watch.exit())
    }

    /// What is finished: of a trace either everything or nothing.
    fn all(&self, loaded: &Loaded, setting: &Setting, watch: &Watch) -> Vec<OfTrace> {
        let policy = &loaded.chosen.policy;
        let (threads, progress) = (self.work.threads(), |progress| watch.progress(progress));
        // The schedules alone are quick; whoever only wants them need not wait for the rest.
        let runners = if self.format == Format::Csv { Vec::new() } else { Who::named(&self.runners) };
        let jobs = loaded.jobs(&runners, setting, false);
        watch.next("schedules");
        let optimum = |trace: &Trace| oracle::schedule(&Bench::new(trace, policy, setting));
        let days = |trace: &Trace| Duration::from_secs(trace.seconds()).as_secs_f64() / 86_400.0;
        let optima = each(&loaded.traces, optimum, days, threads, watch.stop(), &progress);
        watch.next("splits");
        let mut splits = regrets(&jobs, threads, watch.stop(), &progress).into_iter();
        let mut all = Vec::new();
        for (trace, optimum) in loaded.traces.iter().zip(optima) {
            let splits: Option<Vec<Split>> = runners
                .iter()
                .zip(splits.by_ref().take(runners.len()))
                .map(|(runner, regret)| Some(Split { runner: *runner, regret: regret? }))
                .collect();
            if let (Some(optimum), Some(splits)) = (optimum, splits) {
                all.push(OfTrace {
                    trace: trace.name.clone(),
                    start: trace.start,
                    boot: setting.boot,
                    seconds: trace.seconds(),
                    unit_hours: optimum.unit_hours,
                    splits,
                    schedule: render::compact(&optimum.units),
                });
            }
        }
        all
    }
}
