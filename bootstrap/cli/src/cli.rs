//! The command line.

use crate::commands;
use crate::exit::Outcome;
use crate::log::Log;
use crate::memory;
use crate::run;
use bootstrap_agent::node::Directories;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// The agent of a node: from its first boot to a trusted, working node, and its watchman after.
#[derive(Debug, Parser)]
#[command(name = "muster-bootstrap", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    places: Places,
    #[command(flatten)]
    log: Log,
    #[command(subcommand)]
    command: Command,
}

/// Where things are.
#[derive(Clone, Debug, Args)]
pub struct Places {
    /// The configuration; `conf.d/*.hcl` beside it is read after it.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/muster/bootstrap.hcl",
        env = "MUSTER_BOOTSTRAP_CONFIG"
    )]
    config: PathBuf,
    /// What survives a reboot.
    #[arg(
        long,
        global = true,
        value_name = "DIRECTORY",
        default_value = "/var/lib/muster",
        env = "STATE_DIRECTORY"
    )]
    state_directory: PathBuf,
    /// What does not; has to be on tmpfs.
    #[arg(
        long,
        global = true,
        value_name = "DIRECTORY",
        default_value = "/run/muster",
        env = "RUNTIME_DIRECTORY"
    )]
    run_directory: PathBuf,
}

impl Places {
    fn directories(self) -> Directories {
        Directories { config: self.config, state: self.state_directory, run: self.run_directory }
    }
}

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boots this node, and watches it afterwards: what the unit runs.
    Run(run::Options),
    /// Shows every value that holds and where it comes from, and the steps in their order.
    Plan {
        /// How it is printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Shows how far the boot is. Exits with 0 when it is done or under way, 1 when it has failed, 2 when it is degraded.
    Status {
        /// Waits until it is done or has failed.
        #[arg(long)]
        wait: bool,
        /// How long at most: `5m`; exits with 75 then.
        #[arg(long, value_name = "DURATION", value_parser = duration, requires = "wait")]
        timeout: Option<Duration>,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Shows what took how long.
    Analyze {
        #[command(subcommand)]
        what: commands::Analyze,
    },
    /// Finds everything that is wrong with files of a configuration, read together.
    Check {
        /// The files, in the order in which they are read.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Forgets what is known of a step, so that it is done again at the agent's next start.
    Reset {
        /// The step.
        #[arg(value_name = "STEP")]
        step: String,
    },
    /// Empties an image of everything that two instances must not share; the last thing that is done to it.
    Seal(commands::Image),
    /// Proves that an image holds nothing that two instances must not share; exits with 1 where it does.
    VerifyImage(commands::Image),
    /// Carries out what the agent asks of root, and ends: what the unit of the path unit runs.
    #[command(hide = true)]
    Host {
        /// The agent's user.
        #[arg(long, value_name = "USER", default_value = "muster")]
        user: String,
    },
    /// Prints the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages.
    #[command(hide = true)]
    Manual {
        /// Where to; made where it is missing.
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    fleet::parse_duration(text).map_err(|error| error.to_string())
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> Outcome {
        let directories = self.places.directories();
        match self.command {
            Command::Run(options) => {
                self.log.start()?;
                memory::keep();
                run::run(directories, options)
            }
            Command::Plan { format } => commands::plan(&directories, format),
            Command::Status { wait, timeout, format } => {
                commands::status(&directories, wait, timeout, format)
            }
            Command::Analyze { what } => commands::analyze(&directories, what),
            Command::Check { files, format } => commands::check(&files, format),
            Command::Reset { step } => commands::reset(&directories, &step),
            Command::Seal(image) => commands::seal(&directories, &image),
            Command::VerifyImage(image) => commands::verify_image(&directories, &image),
            Command::Host { user } => {
                self.log.start()?;
                memory::keep();
                commands::host(&directories, &user)
            }
            Command::Completions { shell } => commands::completions(shell, &mut Self::command()),
            Command::Manual { directory } => commands::manual(Self::command(), &directory),
        }
    }
}
