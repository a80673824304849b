//! `run`: the daemon.

use crate::aws::{Metadata, Where};
use crate::commands::listen::Listen;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::log::Log;
use crate::out::{self, Terminal};
use crate::services::{ConsulArgs, NomadArgs};
use autoscaler::http::{Access, Limits, Tls};
use autoscaler::policies::{self, Loaded};
use autoscaler::{Daemon, DaemonConfig, Ended, Signals, StartError};
use fleet::InstanceId;
use fleet_clock::SystemClock;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

/// Hold fleets at their target until told to stop.
///
/// Policies are read at the start, on SIGHUP and when a file changes: validated first, then swapped; a bad file
/// leaves the old policies in force and says so. The journal in the state directory survives a kill at any
/// moment; one process has it at a time. SIGTERM finishes or journals what is in flight, within ten seconds.
///
/// Node agents push samples and notices, from the private address of the instance that they speak of: with a token of
/// their own, which they get for their signed instance identity document (--identity-certificates), or in a lab with
/// one that all share (--samples-token-file). Operators' orders (pause, resume, override) need a token of
/// --operator-token-file; without that option they are taken from this host alone. What other hosts reach is served
/// over TLS.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler run --policy web.hcl --state /var/lib/muster
  muster-autoscaler run --policy /etc/muster/policies --state /var/lib/muster \\
      --listen 0.0.0.0:7575 --tls-certificate /run/secrets/tls.pem --tls-key /run/secrets/tls.key \\
      --identity-certificates /etc/muster/aws --identity-account 123456789012 --log-format json
  muster-autoscaler run --policy web.hcl --state ./state --dry-run      say what would be done, do nothing
  muster-autoscaler run --policy web.hcl --state ./state --endpoint http://127.0.0.1:4566

Files with tokens may hold several, one a line, so that one can be replaced without a gap.
Exits with 64, 77 or 78 when starting again would not help: RestartPreventExitStatus=64 77 78.")]
pub struct Args {
    /// Policy file, or directory whose *.hcl files are policy files. May be given several times.
    #[arg(long = "policy", value_name = "FILE|DIR", required = true)]
    policies: Vec<PathBuf>,
    /// Directory of the journal; it is made where it is missing.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// How large the journal may grow; the oldest records go first.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    journal_limit: u64,
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    place: Where,
    /// Plan and report for every fleet, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The instance that this process runs on: never removed. Where it is not given, EC2's metadata service is
    /// asked once.
    #[arg(long, value_name = "INSTANCE")]
    own_instance: Option<InstanceId>,
    #[command(flatten)]
    metadata: Metadata,
    /// Address of an SQS queue that EventBridge fills with EC2's events; may be given several times, a queue once
    /// in all. Read by whoever leads.
    #[arg(long = "queue-url", value_name = "URL")]
    queues: Vec<String>,
    /// Where the other autoscalers and people reach this one, as the lock in Consul says while it leads; the address
    /// of --listen otherwise.
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<String>,
    #[command(flatten)]
    log: Log,
    // Last: what follows a heading stands under it.
    #[command(flatten)]
    nomad: NomadArgs,
    #[command(flatten)]
    consul: ConsulArgs,
}

impl Args {
    /// Runs the daemon to its end.
    pub fn run(self, terminal: Terminal) -> Outcome {
        self.log.start(terminal)?;
        // As `check` shows what is wrong; the daemon reads them for itself.
        load(&self.policies, terminal)?;
        let access = self.listen.access(&self.state)?;
        let tls = self.listen.tls()?;
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .or_exit(Exit::TryAgain, "start the runtime")?
            .block_on(self.serve(access, tls))
    }

    async fn serve(self, access: Access, tls: Option<Tls>) -> Outcome {
        let signals = Signals::listen().or_exit(Exit::Bug, "listen to signals")?;
        let listener = self.listen.bind().await?;
        let own_instance = self.own_instance().await;
        let engine = autoscaler_engine::Config {
            region: self.place.region(),
            dry_run: self.dry_run,
            own_instance,
            ..autoscaler_engine::Config::default()
        };
        let holder = self.advertise.clone().unwrap_or_else(|| self.listen.address().to_string());
        // Chance, so that no start of this process is taken for another.
        let start = format!("muster-autoscaler-{:016x}", RandomState::new().hash_one(std::process::id()));
        let clock = Arc::new(SystemClock::new());
        let connect = self.place.connect();
        let queues = connect
            .queues(&self.queues, engine.region.as_ref(), clock.clone())
            .await
            .map_err(|words| Failure::new(Exit::Usage, words))?;
        let config = DaemonConfig {
            queues,
            nomad: self.nomad.connect()?,
            consul: self.consul.connect(&holder, &start)?,
            policies: self.policies,
            state: Some(self.state),
            journal: autoscaler_journal::Limits {
                bytes: self.journal_limit,
                ..autoscaler_journal::Limits::default()
            },
            engine,
            ..DaemonConfig::default()
        };
        let daemon = Daemon::start(config, Arc::new(connect), clock).await.map_err(not_started)?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, tls = tls.is_some(), "listening");
        }
        let handle = daemon.handle();
        let serving =
            tokio::spawn(async move { handle.serve(listener, tls, access, Limits::default()).await });
        let ended = signals.govern(daemon).await;
        // It ends with the daemon; a panic in there has been logged and concerns nobody any more.
        let _ = serving.await;
        Ok(match ended {
            Ended::Stopped | Ended::CutOff | Ended::AtOnce => Exit::Success,
            Ended::Panicked => Exit::Bug,
        })
    }
}

impl Args {
    /// The instance that must never be removed, because we run on it.
    async fn own_instance(&self) -> Option<InstanceId> {
        if self.own_instance.is_some() {
            return self.own_instance.clone();
        }
        let found = self.place.own_instance(&self.metadata).await;
        if let Some(instance) = &found {
            tracing::info!(%instance, "learned which instance this process runs on");
        } else {
            tracing::info!("learned of no instance that this process runs on");
        }
        found
    }
}

/// Parses `512MiB` or `2GiB`, at least 16 MiB: less would not hold what a restart needs.
fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("MiB", 1 << 20), ("GiB", 1 << 30)];
    let bytes = units.iter().find_map(|(unit, bytes)| {
        let number: u64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(*bytes)
    });
    bytes
        .filter(|bytes| *bytes >= 16 << 20)
        .ok_or_else(|| "expected a size such as 512MiB or 2GiB, at least 16MiB".to_owned())
}

/// Reads the policies; shows everything that is wrong with them as `check` does.
pub fn load(paths: &[PathBuf], terminal: Terminal) -> Result<Loaded, Failure> {
    policies::load(paths).map_err(|problems| {
        out::say_as_is(&problems.render(terminal.colour_err));
        Failure::new(Exit::Configuration, "the policies cannot be used")
    })
}

/// Why a daemon did not start, with its exit code.
pub fn not_started(error: StartError) -> Failure {
    let exit = Exit::of(error.exit_code());
    Failure::because(exit, "start", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_and_is_not_too_small() {
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        for wrong in ["", "512", "1MB", "1MiB", "-1GiB", "99999999999GiB", "GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong:?} was read");
        }
    }
}
