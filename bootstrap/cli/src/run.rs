//! `run`: the boot, and the watch after it.

use crate::aws::Role;
use crate::exit::{Exit, Failure, OrExit as _, Outcome};
use crate::{out, service};
use bootstrap_agent::drive::{Command, Driver};
use bootstrap_agent::host::Spool;
use bootstrap_agent::imds::Imds;
use bootstrap_agent::node::{Directories, Node};
use bootstrap_agent::progress::Store;
use bootstrap_agent::status::tidy;
use bootstrap_agent::steps::{read_files, stop_vault};
use bootstrap_agent::watch::watch;
use bootstrap_config::{File, Layer, Revoke, Settings, begin};
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// How often systemd hears that a boot goes on, where it asked for no watchdog.
const PULSE: Duration = Duration::from_secs(30);

/// How long the revocation of Vault's token may take.
const REVOKED_WITHIN: Duration = Duration::from_secs(10);

/// How it runs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Ends once the boot is done or has failed, as `status` would: for a test of an image.
    #[arg(long)]
    once: bool,
}

/// The files of the image, and what they say by themselves.
pub fn files(directories: &Directories) -> Result<(Vec<File>, Settings), Failure> {
    let layers = read_files(&directories.config).map_err(|(path, error)| {
        Failure::new(Exit::Configuration, format_args!("failed to read {}: {error}", path.display()))
    })?;
    let files: Vec<File> = layers
        .into_iter()
        .filter_map(|layer| if let Layer::Image(file) = layer { Some(file) } else { None })
        .collect();
    let base = begin(&files).map_err(|problems| {
        out::say(problems.render(false).trim_end());
        Failure::new(
            Exit::Configuration,
            format_args!("the configuration is wrong: {} problems", problems.len()),
        )
    })?;
    Ok((files, base))
}

/// Runs until it is told to end.
pub fn run(directories: Directories, options: Options) -> Outcome {
    let (_, base) = files(&directories)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = Store::open(&directories.state).or_exit(Exit::TryAgain, "keep progress")?;
    tidy(&directories.run).or_exit(Exit::TryAgain, "tidy the run directory")?;
    let host = Spool::open(&directories.run.join("host"), Arc::clone(&clock))
        .or_exit(Exit::TryAgain, "ask the host")?;
    let imds = Imds::new(&base.identity, Arc::clone(&clock))
        .or_exit(Exit::Configuration, "ask the metadata service")?;
    // One thread does all of it: what takes time waits for others.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.or_exit(Exit::Bug, "start the runtime")?;
    runtime.block_on(async {
        let metadata = base.identity.endpoints.first().cloned().unwrap_or_default();
        let aws = Arc::new(Role::new(metadata, base.ready.ec2_endpoint.clone()));
        let (node, reports, consequences) =
            Node::new(base, directories, Arc::clone(&clock), imds, Arc::new(host), aws);
        let (commands, orders) = mpsc::channel(4);
        // Until the instance is known the process is all that tells its pauses from others'.
        let driver = Driver::new(Arc::clone(&node), store, Arc::clone(&clock), u64::from(std::process::id()));
        let watchman = tokio::spawn(watch(Arc::clone(&node), commands.clone(), consequences));
        let told = tokio::spawn(tell(Arc::clone(&node), reports, options.once, commands.clone()));
        let listening = tokio::spawn(listen(commands));
        let pulse = service::watchdog().unwrap_or(PULSE);
        let beat = {
            let node = Arc::clone(&node);
            move || service::alive(node.is_ready())
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
        driver.with_pulse(pulse, beat).run(orders).await;
        service::stopping();
        watchman.abort();
        told.abort();
        listening.abort();
        if revokes(&node) {
            // Nobody waits for long for an instance that shuts down.
            let _ = tokio::time::timeout(REVOKED_WITHIN, stop_vault(&node)).await;
        }
        tracing::info!("stopped");
        let condition = node.status().map(|status| status.report.condition);
        Ok(match condition.filter(|_| options.once).map(bootstrap_core::Condition::exit_code) {
            Some(1) => Exit::Failed,
            Some(2) => Exit::Degraded,
            _ => Exit::Done,
        })
    })
}

/// Whether the end of the agent is the end of Vault's token.
fn revokes(node: &Node) -> bool {
    match node.settings().vault.map(|vault| vault.revoke) {
        None | Some(Revoke::Never) => false,
        Some(Revoke::Stop) => true,
        Some(Revoke::Shutdown) => service::shuts_down(&node.directories.run),
    }
}

/// Tells systemd how far it is, after everything that happened.
async fn tell(
    node: Arc<Node>,
    mut reports: tokio::sync::watch::Receiver<Option<bootstrap_core::Report>>,
    once: bool,
    commands: mpsc::Sender<Command>,
) {
    let (mut is_ready, mut said) = (false, String::new());
    while reports.changed().await.is_ok() {
        let Some(status) = node.status() else { continue };
        let words = service::in_words(&status);
        if words != said {
            tracing::info!(status = words, "came this far");
            service::status(&status);
            said = words;
        }
        if !is_ready && status.ready.is_some() {
            is_ready = true;
            service::ready();
        }
        if once && status.report.condition.is_final() {
            let _ = commands.send(Command::Stop).await;
        }
    }
}

/// Turns signals into orders: SIGTERM and SIGINT end it, SIGHUP has everything looked at.
async fn listen(commands: mpsc::Sender<Command>) {
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        tracing::error!("could not listen to signals");
        return;
    };
    loop {
        let command = tokio::select! {
            _ = terminate.recv() => Command::Stop,
            _ = interrupt.recv() => Command::Stop,
            _ = hang_up.recv() => Command::Verify,
        };
        if commands.send(command).await.is_err() {
            return;
        }
    }
}
