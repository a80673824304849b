//! The log: the journal with fields where systemd started this, else lines on standard error.

use crate::exit::{Exit, Failure, OrExit as _};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged.
#[derive(Clone, Debug, clap::Args)]
pub struct Log {
    /// What is logged: a level (error, warn, info, debug, trace), or directives such as
    /// `info,bootstrap_agent::watch=debug`.
    #[arg(long, global = true, value_name = "FILTER", default_value = "info", env = "MUSTER_LOG")]
    log: String,
    /// Set by systemd where standard error is the journal.
    #[arg(long, hide = true, global = true, env = "JOURNAL_STREAM")]
    journal_stream: Option<String>,
}

impl Log {
    /// Begins to log, for the rest of the process.
    pub fn start(&self) -> Result<(), Failure> {
        // Targets and levels, without the expressions that would make the program larger than they are worth.
        let filter: Result<Targets, _> = self.log.parse();
        let filter = filter.or_exit(Exit::Usage, format_args!("understand --log {}", self.log))?;
        let registry = tracing_subscriber::registry().with(filter);
        let journal = self.journal_stream.as_ref().and_then(|_| tracing_journald::layer().ok());
        let started = match journal {
            Some(journal) => registry.with(journal.with_field_prefix(Some("MUSTER".to_owned()))).try_init(),
            None => registry
                .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false))
                .try_init(),
        };
        started.map_err(|error| Failure::new(Exit::Bug, format_args!("failed to start the log: {error}")))
    }
}
