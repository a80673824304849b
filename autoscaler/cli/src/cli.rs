//! The command line.

use crate::commands;
use crate::exit::Outcome;
use crate::out::Terminal;
use clap::{Parser, Subcommand};

/// Hold the CPU of EC2 spot fleets at its target, and say why.
///
/// muster-autoscaler measures demand as utilisation times the capacity that produced it, looks ahead as far as a
/// new instance needs to boot, and sets the target of Spot Fleets and EC2 Fleets accordingly. Policies are written
/// in HCL.
#[derive(Debug, Parser)]
#[command(
    name = "muster-autoscaler",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_long_help = "\
Start here:
  muster-autoscaler check web.hcl                  find everything that is wrong with a policy
  muster-autoscaler plan --policy web.hcl          see what would be done, and why; change nothing
  muster-autoscaler run --policy web.hcl --state /var/lib/muster
  muster-autoscaler status                         what is, and what is held back
  muster-autoscaler explain web                    the arithmetic of the last decision
  muster-autoscaler backtest --trace load.csv      what it would have cost and kept on your own load

Data goes to standard output, everything else to standard error. Colour only on a terminal; NO_COLOR is honoured.

Exit codes: 0 done, 64 usage, 65 data, 69 not reachable, 70 bug, 75 try again, 77 not allowed, 78 configuration,
130 Ctrl-C."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // By far the largest.
    Run(Box<commands::run::Args>),
    Check(commands::check::Args),
    ExplainPolicy(commands::explain_policy::Args),
    Plan(commands::plan::Args),
    Status(commands::status::Args),
    Explain(commands::explain::Args),
    Pause(commands::orders::Pause),
    Resume(commands::orders::Resume),
    Override(commands::orders::Override),
    Rollout(commands::rollout::Args),
    Demo(crate::demo::Args),
    Backtest(commands::backtest::Args),
    Oracle(commands::oracle::Args),
    Tune(commands::tune::Args),
    Decide(commands::decide::Args),
    Replay(commands::replay::Args),
    Cloud(commands::cloud::Args),
    Completions(commands::generate::Completions),
    Man(commands::generate::Man),
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self, terminal: Terminal) -> Outcome {
        match self.command {
            Command::Run(args) => args.run(terminal),
            Command::Check(args) => args.run(terminal),
            Command::ExplainPolicy(args) => args.run(terminal),
            Command::Plan(args) => args.run(terminal),
            Command::Status(args) => args.run(terminal),
            Command::Explain(args) => args.run(terminal),
            Command::Pause(args) => args.run(),
            Command::Resume(args) => args.run(),
            Command::Override(args) => args.run(),
            Command::Rollout(args) => args.run(terminal),
            Command::Demo(args) => args.run(),
            Command::Backtest(args) => args.run(terminal),
            Command::Oracle(args) => args.run(terminal),
            Command::Tune(args) => args.run(terminal),
            Command::Decide(args) => args.run(terminal),
            Command::Replay(args) => args.run(terminal),
            Command::Cloud(args) => args.run(terminal),
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod documented;
