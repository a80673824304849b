//! `backtest`: what a policy would have done.

use crate::exit::{Exit, OrExit, Outcome};
use crate::lab::{Format, Load, Loaded, Watch, Who, Work, World, runners};
use crate::out::{self, Terminal};
use crate::render;
use autoscaler_lab::html::{self, Front};
use autoscaler_lab::sweep::{add_soft_cost, each, sweep};
use autoscaler_lab::{Bench, Setting, Trace, oracle};
use std::path::PathBuf;
use std::time::Duration;

/// What a unit that is missing for a minute costs, in unit-minutes, along the clairvoyant's front.
const PENALTIES: [f64; 16] =
    [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 16.0, 30.0, 60.0, 120.0, 1000.0];

/// Play recorded load against the policy, and against what others do, and show what each costs and breaches.
///
/// The policy is the very code that `run` runs, in virtual time, on a simulated fleet whose instances take their time
/// to boot and whose utilisation is seen as late as CloudWatch shows it. The rivals are AWS target tracking, Nomad
/// Autoscaler's target-value, an autoscaler like Kubernetes' HPA, and others. Cost is compared with the clairvoyant
/// optimum; breach with the policy's promise. The same arguments give the same bytes again, on any number of threads.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler backtest
  muster-autoscaler backtest --trace load.csv --policy web.hcl
  muster-autoscaler backtest --trace june.csv.gz --history may.csv.gz --runner all --boot 180s
  muster-autoscaler backtest --trace cpu.json --metric push --html report.html
  muster-autoscaler backtest --trace /var/lib/muster --fleet web --interruptions stress --stochastic
  muster-autoscaler backtest --interruptions stress --spot recorded/us-east-1*.json.gz
  muster-autoscaler backtest --trace *.csv --format json | jq -r '.[] | [.trace, .runner, .cost_ratio, .breach80_ratio] | @tsv'

How to get one's own load into such a file, and what every field means: docs/backtest.md")]
pub struct Args {
    #[command(flatten)]
    load: Load,
    /// Who decides; several are separated by commas.
    #[arg(long = "runner", value_name = "NAME", value_delimiter = ',', default_value = "muster,aws-tt,nomad-tv,hpa",
          value_parser = runners())]
    runners: Vec<Who>,
    #[command(flatten)]
    world: World,
    #[command(flatten)]
    work: Work,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write a report with charts, one file that needs nothing from the network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Args {
    /// Runs the backtests.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let loaded = self.load.read(terminal)?;
        let setting = self.world.setting(&loaded.chosen)?;
        let watch = Watch::begin()?;
        let outcomes = self.outcomes(&loaded, &setting, &watch);
        let fronts = self.html.as_ref().map(|_| {
            watch.next("fronts");
            let of = |trace: &Trace| front(trace, &loaded, &setting);
            let days = |trace: &Trace| Duration::from_secs(trace.seconds()).as_secs_f64() / 86_400.0;
            let progress = |progress| watch.progress(progress);
            let found = each(&loaded.traces, of, days, self.work.threads(), watch.stop(), &progress);
            found.into_iter().flatten().collect::<Vec<Front>>()
        });
        watch.end();
        match self.format {
            Format::Table => out::print(&render::outcomes(&outcomes, terminal.paint())),
            Format::Json => out::print_json(&outcomes),
            Format::Csv => {
                render::outcomes_csv(&outcomes).map_err(Into::into).and_then(|text| out::print(&text))
            }
        }
        .or_exit(Exit::Unavailable, "print the outcomes")?;
        if let (Some(path), Some(fronts)) = (&self.html, fronts) {
            std::fs::write(path, html::render(&outcomes, &fronts))
                .or_exit(Exit::Unavailable, format_args!("write {}", path.display()))?;
            out::say(format_args!("wrote {}", path.display()));
        }
        if watch.interrupted() {
            out::say("interrupted: what was finished is shown");
        }
        Ok(watch.exit())
    }

    fn outcomes(&self, loaded: &Loaded, setting: &Setting, watch: &Watch) -> Vec<autoscaler_lab::Outcome> {
        let runners = Who::named(&self.runners);
        let jobs = loaded.jobs(&runners, setting, self.html.is_some());
        let progress = |progress| watch.progress(progress);
        let threads = self.work.threads();
        let mut outcomes = sweep(&jobs, threads, watch.stop(), &progress);
        // The table does not show it, and it takes longer than everything else.
        if self.format != Format::Table || self.html.is_some() {
            watch.next("optima under the contract");
            add_soft_cost(&jobs, &mut outcomes, threads, watch.stop(), &progress);
        }
        outcomes.into_iter().flatten().collect()
    }
}

/// The clairvoyant's front, for the charts.
fn front(trace: &Trace, loaded: &Loaded, setting: &Setting) -> Front {
    let points = oracle::front(&Bench::new(trace, &loaded.chosen.policy, setting), &PENALTIES);
    Front {
        trace: trace.name.clone(),
        points: points.iter().map(|point| (point.cost_ratio, point.above_ratio)).collect(),
    }
}
