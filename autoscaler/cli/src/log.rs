//! The log: standard error, for people or as JSON.

use crate::exit::{Exit, Failure, OrExit};
use crate::out::Terminal;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people: a line an event.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Log {
    /// How the log on standard error is written.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged: a level (error, warn, info, debug, trace), or directives such as
    /// `info,autoscaler::http=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "MUSTER_LOG")]
    log: String,
}

impl Log {
    /// Begins to log, for the rest of the process.
    pub fn start(&self, terminal: Terminal) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(&self.log)
            .or_exit(Exit::Usage, format_args!("understand --log {}", self.log))?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(terminal.colour_err)
            .with_span_events(FmtSpan::NONE);
        let started = match self.log_format {
            LogFormat::Text => log.try_init(),
            LogFormat::Json => log.json().flatten_event(true).try_init(),
        };
        started.map_err(|error| Failure::new(Exit::Bug, format_args!("failed to start the log: {error}")))
    }
}
