//! Holds the fleets of a simulated account in stepped time, over loopback and the AWS SDK, and counts calls.
//!
//! `cargo run --release -p tests --example stepped -- --world FILE --policy FILE [options]`
//!
//! | option | what |
//! |---|---|
//! | `--state DIR` | where the journal is kept; without it there is none |
//! | `--push` | the instances' agents push their samples |
//! | `--history 14d` | how long the account has been there when the daemon starts |
//! | `--settle 30m` | how long fleets are held before calls are counted |
//! | `--for 2h` | how long they are counted |
//! | `--ends-now` | world time ends at the host's time, so that a real daemon can go on from the journal |
//!
//! Prints JSON: fleets, minutes, and the calls of these minutes by action.
#![allow(clippy::print_stdout, reason = "a tool")]

#[path = "../tests/sdk/mod.rs"]
mod sdk;

use autoscaler::{Daemon, DaemonConfig, Handle};
use fleet::ports::Clock;
use fleet::wire::{SampleBatch, VERSION};
use fleet::{InstanceId, Timestamp, parse_duration};
use fleet_clock::{SteppedClock, SystemClock};
use fleet_cloud::{CloudConfig, CloudServer, world_file};
use fleet_sim::World;
use sdk::Loopback;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// What was asked for.
#[derive(Default)]
struct Options {
    world: PathBuf,
    policy: PathBuf,
    state: Option<PathBuf>,
    push: bool,
    history: Duration,
    settle: Duration,
    length: Duration,
    ends_now: bool,
}

impl Options {
    fn read() -> Fallible<Self> {
        let mut options = Self { length: Duration::from_secs(7200), ..Self::default() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--world" => options.world = value()?.into(),
                "--policy" => options.policy = value()?.into(),
                "--state" => options.state = Some(value()?.into()),
                "--push" => options.push = true,
                "--history" => options.history = parse_duration(&value()?)?,
                "--settle" => options.settle = parse_duration(&value()?)?,
                "--for" => options.length = parse_duration(&value()?)?,
                "--ends-now" => options.ends_now = true,
                _ => return Err(format!("{word:?} is no option").into()),
            }
        }
        Ok(options)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Fallible<()> {
    let options = Options::read()?;
    autoscaler::tls::install_provider();
    let mut stage = Stage::build(&options).await?;
    stage.play(options.settle).await?;
    let before = stage.calls();
    stage.play(options.length).await?;
    let calls: BTreeMap<String, u64> = stage
        .calls()
        .into_iter()
        .map(|(action, count)| {
            let earlier = before.get(&action).copied().unwrap_or(0);
            (action, count - earlier)
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    let fleets = stage.world().fleets().len();
    println!(
        "{}",
        serde_json::json!({ "fleets": fleets, "minutes": options.length.as_secs() / 60, "calls": calls })
    );
    stage.daemon.stop().await;
    stage.cloud.stop().await;
    Ok(())
}

/// An account, its cloud, and the daemon that holds its fleets.
struct Stage {
    world: Arc<Mutex<World>>,
    clock: SteppedClock,
    cloud: CloudServer,
    daemon: Daemon,
    start: Timestamp,
    agents: Option<Agents>,
}

impl Stage {
    async fn build(options: &Options) -> Fallible<Self> {
        let file = world_file::read(&options.world)?;
        let start = if options.ends_now {
            SystemClock::new().wall().floor(Duration::from_secs(10)) - options.settle - options.length
        } else {
            file.start.ok_or("the world file does not say when its time begins")?
        };
        let mut world = World::new(file.spec, 1, start - options.history);
        world.advance(start);
        let world = Arc::new(Mutex::new(world));
        let clock = SteppedClock::new(start);
        let shared_clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let cloud =
            CloudServer::start(CloudConfig::new(Arc::clone(&world), Arc::clone(&shared_clock))).await?;
        let config = DaemonConfig {
            policies: vec![options.policy.clone()],
            state: options.state.clone(),
            watch_every: Duration::ZERO,
            ..DaemonConfig::default()
        };
        let connect = Arc::new(Loopback { endpoint: cloud.endpoint() });
        let daemon = Daemon::start(config, connect, shared_clock).await?;
        let agents = options.push.then(|| Agents { sent: start, sequences: BTreeMap::new() });
        Ok(Self { world, clock, cloud, daemon, start, agents })
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All calls so far, by action. There is one caller.
    fn calls(&self) -> BTreeMap<String, u64> {
        let mut calls = BTreeMap::new();
        for (_, action, count) in self.world().calls().iter() {
            *calls.entry(action.0.to_owned()).or_default() += count.calls;
        }
        calls
    }

    /// Lets time pass, from event to event, whenever the daemon has nothing left to do.
    async fn play(&mut self, length: Duration) -> Fallible<()> {
        let handle = self.daemon.handle();
        let end = self.clock.monotonic() + length;
        handle.idle().await;
        loop {
            let world = self.world().next_event().map(|at| at.since(self.start));
            let next = [world, self.clock.next_wake()].into_iter().flatten().min().unwrap_or(end);
            // What is due already still needs a step of time.
            let next = next.max(self.clock.monotonic() + Duration::from_millis(1));
            if next > end {
                return Ok(());
            }
            self.world().advance(self.start + next);
            self.cloud.world_moved();
            self.clock.advance_to(next);
            handle.idle().await;
            if let Some(agents) = &mut self.agents {
                agents.push(&self.world, &handle).await?;
                handle.idle().await;
            }
        }
    }
}

/// The agents of all instances.
struct Agents {
    /// What was measured up to here has been sent.
    sent: Timestamp,
    sequences: BTreeMap<InstanceId, u64>,
}

impl Agents {
    /// Sends what has been measured, each instance from its own address.
    async fn push(&mut self, world: &Mutex<World>, daemon: &Handle) -> Fallible<()> {
        let mut samples = Vec::new();
        world.lock().unwrap_or_else(PoisonError::into_inner).agent_samples(self.sent, &mut samples);
        let mut batches: BTreeMap<InstanceId, SampleBatch> = BTreeMap::new();
        for (instance, sample) in samples {
            self.sent = self.sent.max(sample.end_ms);
            let batch = batches.entry(instance.clone()).or_insert_with(|| SampleBatch {
                version: VERSION,
                instance,
                sequence: 0,
                samples: Vec::new(),
            });
            batch.samples.push(sample);
        }
        for (instance, mut batch) in batches {
            let address = world.lock().unwrap_or_else(PoisonError::into_inner).private_address(&instance);
            let Some(address) = address else { continue };
            let sequence = self.sequences.entry(instance).or_default();
            batch.sequence = *sequence;
            *sequence += 1;
            // What is refused is lost, as an agent's would be: an instance that has not been described yet, say.
            let _ = daemon.samples(address, batch).await.map_err(|_| "the daemon does not answer")?;
        }
        Ok(())
    }
}
