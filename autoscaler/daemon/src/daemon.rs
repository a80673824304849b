//! A daemon's beginning and end.

use crate::config::{Connect, DaemonConfig, StartError};
use crate::effects::{Calls, Tools};
use crate::handle::Handle;
use crate::hooks::Hooks;
use crate::idle::Activity;
use crate::leadership::Leadership;
use crate::ledgers::{Halves, Ledgers};
use crate::logbook::Logbook;
use crate::metrics::Metrics;
use crate::named::Named;
use crate::nodes;
use crate::notices::DeadLetters;
use crate::peers::Peers;
use crate::policies::{self, Loaded, Reading, Watcher};
use crate::queue::{Envelope, Happened};
use crate::queues::Queues;
use crate::recorder::{Beginning, Recorder, ThreadEnd};
use crate::runtime::{Ended, Inlets, Leads, Runtime};
use autoscaler_engine::{Engine, Entry};
use autoscaler_policy::Problems;
use fleet::ports::Clock;
use std::sync::{Arc, mpsc as threads};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// Reloads that may wait; they are ordered by hand.
const RELOADS: usize = 4;
/// Readers of the journal at a time.
const READERS: usize = 4;

/// A running daemon. Dropping it is a crash: nothing more is begun, nothing is finished; [`Daemon::stop`] is the
/// other way.
pub struct Daemon {
    handle: Handle,
    engine: JoinHandle<Ended>,
    journal: Option<ThreadEnd>,
    /// How the engine ended, once that is known.
    ended: Option<Ended>,
}

impl Daemon {
    /// Starts a daemon: reads the policies, takes the state directory, restores what the journal holds, and lets
    /// the engine begin.
    ///
    /// * `connect`: makes a region's ports when it is first needed.
    /// * `clock`: everything but transport waits on it.
    /// * Fails, having begun nothing, when the policies are wrong or the state directory cannot be had. A journal
    ///   that is damaged or has no space does not keep a daemon from starting.
    pub async fn start(
        config: DaemonConfig,
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let wrong = |problems: Problems| StartError::Policies { problems: problems.to_string() };
        let Loaded { mut set, files } = policies::load(&config.policies).map_err(wrong)?;
        policies::warn(&set.warnings);
        let region = config.engine.region.clone();
        policies::settle_regions(&mut set.fleets, region.as_ref(), &*connect).await.map_err(wrong)?;
        let activity = Arc::new(Activity::default());
        // Held until the engine's task runs: a daemon that starts is not idle.
        let starting = activity.begin();
        let (happened_in, happened) = mpsc::unbounded_channel();
        let (asks, asked) = mpsc::channel(config.queue.max(1));
        let (reloads, orders) = mpsc::channel(RELOADS);
        let (stopping_in, stopping) = watch::channel(false);
        let (recorder, Beginning { restored, ended }) = Recorder::start(
            config.state.as_deref(),
            config.journal,
            Arc::clone(&clock),
            happened_in.clone(),
            Arc::clone(&activity),
        )?;
        let engine = restore(engine_config(&config), restored).await;
        let fleets = set.fleets.len();
        let first = Happened::PoliciesLoaded(set.fleets);
        // The engine's task does not run yet, and cannot have ended.
        let _ = happened_in.send(Envelope { what: first, busy: activity.begin() });
        let watcher = Watcher {
            paths: config.policies,
            every: config.watch_every,
            clock: Arc::clone(&clock),
            activity: Arc::clone(&activity),
            orders,
            happened: happened_in.clone(),
            judged: Reading { files, ..Reading::default() },
            region,
            connect: Arc::clone(&connect),
        };
        let mut tasks = Named::default();
        tasks.spawn("policy watcher", watcher.run());
        let metrics = Metrics::new();
        let letters = DeadLetters::open(config.state.as_deref()).map_err(StartError::DeadLetters)?;
        let hooks = Hooks::default();
        let tools =
            Tools::new(Arc::clone(&connect), Arc::clone(&clock), config.read_deadline, config.write_deadline)
                .emptying(config.nomad.clone(), hooks.clone());
        let queues = Queues {
            sources: config.queues,
            config: config.reader,
            letters,
            clock: Arc::clone(&clock),
            activity: Arc::clone(&activity),
            happened: happened_in.clone(),
            metrics: metrics.clone(),
            readers: Vec::new(),
        };
        if let Some(nomad) = config.nomad {
            let follower = nomad.follow(Arc::clone(&clock));
            tasks
                .spawn("nomad's events", nodes::follow(follower, happened_in.clone(), Arc::clone(&activity)));
        }
        let own = config.engine.own_instance;
        let peers = config.consul.map(|consul| Peers::new(consul, own, &clock, &happened_in, &activity));
        let (leads, tools) = contend(peers, &*connect, tools, &mut tasks);
        let runtime = Runtime {
            engine,
            clock: Arc::clone(&clock),
            activity: Arc::clone(&activity),
            inlets: Inlets { happened, asked },
            calls: Calls::new(tools, Arc::clone(&activity)),
            recorder,
            logbook: Logbook::default(),
            metrics: metrics.clone(),
            tasks,
            wake: None,
            ordered: std::collections::BTreeMap::new(),
            stopping: stopping_in,
            stop_deadline: config.stop_deadline,
            hooks,
            leads,
            queues,
        };
        let handle = Handle {
            asks,
            reloads,
            happened: happened_in,
            activity,
            clock,
            metrics,
            state: config.state,
            planner: config.engine.planner,
            stopping,
            readers: Arc::new(Semaphore::new(READERS)),
            connect,
        };
        let engine = tokio::spawn(async move {
            let running = runtime.run();
            drop(starting);
            running.await
        });
        tracing::info!(fleets, "started");
        Ok(Self { handle, engine, journal: Some(ended), ended: None })
    }

    /// What everybody else needs of it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops gracefully: what is in flight is finished or journaled, within the configured deadline.
    pub async fn stop(mut self) -> Ended {
        self.handle.stop();
        self.finished().await
    }

    /// Ends at once, as a kill would, and waits until its files are closed.
    pub async fn kill(mut self) -> Ended {
        self.engine.abort();
        self.finished().await
    }

    /// Waits until the daemon has ended, its journal is closed and its state directory free. May be given up and
    /// called again.
    pub async fn finished(&mut self) -> Ended {
        let ended = match &self.ended {
            Some(ended) => ended.clone(),
            None => match (&mut self.engine).await {
                Ok(ended) => ended,
                Err(error) if error.is_cancelled() => Ended::AtOnce,
                Err(error) => {
                    tracing::error!(%error, "lost the engine to a panic");
                    Ended::Panicked
                }
            },
        };
        self.ended = Some(ended.clone());
        if let Some(journal) = &mut self.journal {
            // The other end is dropped by a thread that panicked: then it has ended, too.
            let _ = journal.await;
        }
        self.journal = None;
        ended
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.engine.abort();
    }
}

/// The engine's settings, with what follows from whom the daemon can reach.
fn engine_config(config: &DaemonConfig) -> autoscaler_engine::Config {
    let several = config.consul.is_some();
    autoscaler_engine::Config {
        nomad: config.nomad.is_some(),
        lease_needed: several,
        shared_ledger: several,
        ..config.engine.clone()
    }
}

/// Makes the daemon one of several, where there are: what it leads by, and tools that are fenced.
fn contend(
    peers: Option<Peers>,
    connect: &dyn Connect,
    tools: Tools,
    tasks: &mut Named,
) -> (Option<Leads>, Tools) {
    let Some(peers) = peers else { return (None, tools) };
    let (consul, clock) = (peers.consul.clone(), Arc::clone(&peers.clock));
    let leadership = Leadership::new(consul.clone(), Arc::clone(&clock));
    let (ledgers, writer) = Ledgers::new(consul, leadership.session(), peers.happened.clone());
    tasks.spawn("ledgers", writer);
    tasks.spawn("peers", peers.run(leadership.session()));
    let fence = leadership.fence();
    connect.guard(Arc::new(move || fence.may_write(clock.monotonic())));
    let tools = tools.fenced(leadership.fence(), ledgers.clone());
    (Some(Leads { leadership, ledgers, halves: Halves::default() }), tools)
}

/// An engine that goes on from the journal.
async fn restore(config: autoscaler_engine::Config, restored: threads::Receiver<Entry>) -> Engine {
    // A thousand fleets are seconds of folding.
    match tokio::task::spawn_blocking(move || Engine::new(config, restored)).await {
        Ok(engine) => engine,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
