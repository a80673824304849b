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
use bootstrap_agent::watch::{Ended, watch};
use bootstrap_config::{File, Layer, Revoke, Settings, begin};
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

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
    /// Stops looking for notices once the node is ready, as a bug would have it: for a test of the watchdog, and in nothing that
    /// is shipped.
    #[cfg(debug_assertions)]
    #[arg(long, hide = true)]
    hang: bool,
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
        let aws = Arc::new(Role::new(imds.clone(), base.ready.ec2_endpoint.clone()));
        let (node, reports, consequences) =
            Node::new(base, directories, Arc::clone(&clock), imds, Arc::new(host), aws);
        let (commands, orders) = mpsc::channel(4);
        // Until the instance is known the process is all that tells its pauses from others'.
        let driver = Driver::new(Arc::clone(&node), store, Arc::clone(&clock), u64::from(std::process::id()));
        let watching = watch(Arc::clone(&node), commands.clone(), consequences);
        #[cfg(debug_assertions)]
        let watching = until_ready(watching, Arc::clone(&node), Arc::clone(&clock), options.hang);
        let mut watchman = tokio::spawn(watching);
        let mut told = tokio::spawn(tell(Arc::clone(&node), reports, options.once, commands.clone()));
        let listening = tokio::spawn(listen(commands));
        let pulse = service::watchdog().unwrap_or(PULSE);
        let beat = {
            let node = Arc::clone(&node);
            // The loop of the steps says this; that of the notices matters as much.
            move || {
                let is_watched = node.is_watched();
                if is_watched {
                    service::alive(node.is_ready());
                } else {
                    tracing::error!("nobody has looked for notices lately");
                }
                is_watched
            }
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
        let broken = first(driver.with_pulse(pulse, beat).run(orders), &mut watchman, &mut told).await;
        if let Some(why) = &broken {
            tracing::error!(why, "ends itself, to be started again");
        }
        service::stopping();
        watchman.abort();
        told.abort();
        listening.abort();
        if revokes(&node).await {
            // Nobody waits for long for an instance that shuts down.
            let _ = tokio::time::timeout(REVOKED_WITHIN, stop_vault(&node)).await;
        }
        tracing::info!("stopped");
        if broken.is_some() {
            return Ok(Exit::Bug);
        }
        let condition = node.status().map(|status| status.report.condition);
        Ok(match condition.filter(|_| options.once).map(bootstrap_core::Condition::exit_code) {
            Some(1) => Exit::Failed,
            Some(2) => Exit::Degraded,
            _ => Exit::Done,
        })
    })
}

/// A watch that hangs, if it is to, as soon as the node is ready.
#[cfg(debug_assertions)]
async fn until_ready(
    watching: impl Future<Output = Ended>,
    node: Arc<Node>,
    clock: Arc<dyn Clock>,
    hangs: bool,
) -> Ended {
    let ready = async {
        while !hangs || !node.is_ready() {
            clock.sleep_until(clock.monotonic() + Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        ended = watching => ended,
        () = ready => std::future::pending().await,
    }
}

/// Waits for the end of the steps' loop, which was told to; or for that of a part that never should end.
///
/// * returns: why the process cannot go on, in words.
async fn first(
    steps: impl Future<Output = ()>,
    watchman: &mut JoinHandle<Ended>,
    told: &mut JoinHandle<()>,
) -> Option<String> {
    tokio::select! {
        () = steps => None,
        ended = watchman => Some(ended.map_or_else(|error| format!("the watch: {error}"), |ended| ended.to_string())),
        ended = told => {
            let why = ended.err().map_or_else(|| "came to an end".to_owned(), |error| error.to_string());
            Some(format!("what systemd is told {why}"))
        }
    }
}

/// Whether the end of the agent is the end of Vault's token.
async fn revokes(node: &Node) -> bool {
    match node.settings().vault.map(|vault| vault.revoke) {
        None | Some(Revoke::Never) => false,
        Some(Revoke::Stop) => true,
        Some(Revoke::Shutdown) => service::shuts_down().await,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn a_part_that_ends_or_panics_is_why_the_process_ends() {
        let watching = || tokio::spawn(pending::<Ended>());
        let telling = || tokio::spawn(pending::<()>());
        assert_eq!(first(async {}, &mut watching(), &mut telling()).await, None);
        let mut ended = tokio::spawn(async { Ended { part: "notices", panicked: true } });
        let why = first(pending(), &mut ended, &mut telling()).await;
        assert_eq!(why.as_deref(), Some("the watchman's part for notices has ended in a panic"));
        let mut panics = tokio::spawn(async { panic!("a bug") });
        let why = first(pending(), &mut panics, &mut telling()).await.expect("it cannot go on");
        assert!(why.starts_with("the watch: task") && why.contains("panicked"), "{why}");
        let why = first(pending(), &mut watching(), &mut tokio::spawn(async {})).await;
        assert_eq!(why.as_deref(), Some("what systemd is told came to an end"));
    }

    #[test]
    fn systemd_starts_again_what_ended_for_anything_but_a_wrong_call_and_wrong_files() {
        let unit = include_str!("../../systemd/muster-bootstrap.service");
        assert!(unit.contains("\nRestart=always\n"));
        let line = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
        // All else may be otherwise the next time: a disk that was full, a service that was away.
        let kept = [Exit::Usage, Exit::Configuration].map(|exit| (exit as u8).to_string());
        assert_eq!(line.expect("a line").split(' ').collect::<Vec<_>>(), kept);
    }
}
