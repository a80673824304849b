//! The log: the journal with fields where systemd started this, else lines on standard error.

use crate::exit::{Exit, Failure, OrExit as _};
use tracing_subscriber::filter::{LevelFilter, Targets};
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
        let registry = tracing_subscriber::registry().with(discreet(filter));
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

/// What the targets of AWS's SDK begin with.
const SDK: &str = "aws";

/// The same filter, by which AWS's SDK says no more than `info`, whoever asks: what it says of each request has the id of the
/// role's key in it, and bodies that hold parameters. Who asks for less of it has less.
fn discreet(asked: Targets) -> Targets {
    let default = asked.default_level().unwrap_or(LevelFilter::OFF);
    // Of two directives for one target the later one counts: what is asked for.
    let sdk = std::iter::once((SDK.to_owned(), default));
    let capped = sdk.chain(asked).map(|(target, level)| {
        let most = if target.starts_with(SDK) { LevelFilter::INFO } else { LevelFilter::TRACE };
        (target, level.min(most))
    });
    capped.collect::<Targets>().with_default(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_filter_has_the_sdk_of_aws_say_what_it_signs_with() {
        let level = |asked: &str, target: &str| {
            let filter = discreet(asked.parse().expect("a filter"));
            let levels = [tracing::Level::ERROR, tracing::Level::INFO, tracing::Level::DEBUG];
            levels.map(|level| filter.would_enable(target, &level))
        };
        let sdk = "aws_smithy_runtime::client::orchestrator";
        assert_eq!(level("trace", sdk), [true, true, false]);
        assert_eq!(level("info,aws_smithy_runtime=trace", sdk), [true, true, false]);
        assert_eq!(level("error", sdk), [true, false, false]);
        assert_eq!(level("info,aws_smithy_runtime=error", sdk), [true, false, false]);
        assert_eq!(level("debug,aws=off", sdk), [false, false, false]);
        assert_eq!(level("debug", "bootstrap_agent::watch"), [true, true, true]);
        assert_eq!(level("info,bootstrap_agent=debug", "bootstrap_agent::watch"), [true, true, true]);
        assert_eq!(discreet("info".parse().expect("a filter")).default_level(), Some(LevelFilter::INFO));
    }
}
