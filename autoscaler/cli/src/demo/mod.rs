//! `demo`: the daemon against a cloud on loopback, driven by a recorded day of load.

mod agents;
mod audience;
mod drive;
mod frame;
mod machines;
mod plain;
mod scene;
mod screen;
mod summary;

use crate::exit::{Exit, OrExit, Outcome};
use crate::out::{self, Format};
use agents::Agents;
use anyhow::{Context, Result, bail};
use audience::{Quiet, Teller, Viewer};
use autoscaler::http::{Access, Limits, TokenFile};
use autoscaler::{Connect, Daemon, DaemonConfig, RegionPorts};
use drive::{Audience, Play, Seen};
use flate2::read::MultiGzDecoder;
use fleet::ports::{Answer, Clock};
use fleet::{FleetId, Region, parse_duration};
use fleet_aws::{Aws, AwsConfig, Credentials, Endpoints, Secret};
use fleet_clock::SteppedClock;
use fleet_cloud::{CloudConfig, CloudServer};
use fleet_sim::Demand;
use scene::{FLEET, Scene};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use summary::Summary;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The day that is played by default: taxi passengers in New York, 24 hours.
const TAXI: &[u8] = include_bytes!("../../../samples/taxi.csv.gz");
/// Where the daemon listens when that is free, so that `status` and `explain` need no address.
const USUAL_PORT: u16 = 7575;
/// What agents show the demo's daemon. No secret: both ends are in this process.
const TOKEN: &str = "the-demo-s-agents";

/// Play a recorded day of load on a simulated EC2, with the real daemon at the wheel.
///
/// A cloud of its own starts on loopback and speaks EC2's and CloudWatch's protocols; the daemon holds a Spot
/// Fleet in it through the AWS SDK, exactly as it would hold yours. Four pools of three families; two of them run
/// out of capacity along the way. The day passes 720 times as fast as a real one. Time moves on only when the
/// daemon has nothing left to do, so the figures do not depend on the machine's speed. Nothing is left behind.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler demo
  muster-autoscaler demo --trace load.csv --from 24h --for 12h
  muster-autoscaler demo --speed max --format json
  muster-autoscaler demo --serve        then, elsewhere: muster-autoscaler explain web
  muster-autoscaler demo --machines --report platform.html
                                        on real machines: root, Debian, and muster-platform beside this program")]
pub struct Args {
    /// Your own recording: CSV, plain or gzip, `seconds,demand` or `timestamp,demand`; demand in instances.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Where in the trace to begin.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    from: Duration,
    /// How much of it to play.
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    length: Duration,
    /// How many times as fast as real time; `max`: as fast as this machine can.
    #[arg(long, value_name = "FACTOR", default_value = "720", value_parser = parse_speed)]
    speed: Speed,
    /// From the request of an instance until it serves.
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = parse_duration)]
    boot: Duration,
    /// What chance is made of; the same seed plays the same day.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Leave the HTTP interfaces open when the day is over, until Ctrl-C.
    #[arg(long)]
    serve: bool,
    /// Lines in place of a screen, on a terminal too.
    #[arg(long)]
    plain: bool,
    /// How to print the closing report.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// In place of the simulated day the whole platform on this machine, once around: instances that really boot, with real
    /// Nomad, Consul, Vault, Docker and a registry.
    #[arg(long, conflicts_with_all = ["trace", "from", "length", "speed", "boot", "seed", "serve", "plain", "format"])]
    machines: bool,
    /// The file that the report of `--machines` is written to, as a page for a browser.
    #[arg(long, value_name = "FILE", requires = "machines")]
    report: Option<PathBuf>,
}

/// How fast the day passes.
#[derive(Clone, Copy, Debug)]
struct Speed(Option<f64>);

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed(None));
    }
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(Speed(Some(factor))),
        _ => Err("expected a factor above 0, such as 720, or `max`".to_owned()),
    }
}

impl Args {
    /// Plays it.
    pub fn run(self) -> Outcome {
        if self.machines {
            return machines::run(self.report.as_deref());
        }
        let scene = self.scene().or_exit(Exit::Configuration, "read the trace")?;
        autoscaler::tls::install_provider();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .or_exit(Exit::TryAgain, "start the runtime")?;
        let complete = runtime.block_on(self.play(scene)).or_exit(Exit::Unavailable, "play the demo")?;
        Ok(if complete { Exit::Success } else { Exit::Interrupted })
    }

    fn scene(&self) -> Result<Scene> {
        let (title, demand) = match &self.trace {
            Some(path) => (path.display().to_string(), read_trace(path)?),
            None => ("a day of New York's taxis".to_owned(), decode("taxi.csv.gz", TAXI, true)?),
        };
        if self.from >= demand.duration() {
            bail!(
                "--from lies behind the end of {title}, which lasts {}",
                fleet::DurationText(demand.duration())
            );
        }
        let length = self.length.min(demand.duration().saturating_sub(self.from));
        if length < Duration::from_secs(60) {
            bail!("--for leaves less than a minute of {title} to play");
        }
        let demand = demand.window(self.from, length);
        Ok(Scene { title, demand, length, boot: self.boot, seed: self.seed })
    }

    async fn play(&self, scene: Scene) -> Result<bool> {
        let home = tempfile::Builder::new()
            .prefix("muster-demo-")
            .tempdir()
            .context("failed to make a directory")?;
        let stage = Stage::build(&scene, home.path(), self.speed.0).await?;
        let address = stage.address;
        let mut play = stage.play;
        let interrupted = Interrupted::watch();

        let complete = {
            let on_screen = !self.plain && self.format == Format::Text && std::io::stdout().is_terminal();
            let mut audience: Box<dyn Audience> = if on_screen {
                Box::new(Viewer::open(&scene, address, interrupted.clone())?)
            } else if self.format == Format::Text {
                Box::new(Teller::new(&scene, address, interrupted.clone())?)
            } else {
                Box::new(Quiet(interrupted.clone()))
            };
            play.run(&mut *audience).await?
        };

        let summary = summarise(&play, &scene, complete)?;
        match self.format {
            Format::Json => out::print_json(&summary)?,
            Format::Text => out::print(&format!("\n{summary}"))?,
        }
        if self.serve && complete {
            out::say(format_args!("http://{address} and {} stay open; Ctrl-C ends", play.cloud.endpoint()));
            interrupted.wait().await;
        }
        stage.daemon.stop().await;
        stage.serving.abort();
        play.cloud.stop().await;
        Ok(complete)
    }
}

/// Everything that a play needs, started.
struct Stage {
    play: Play,
    daemon: Daemon,
    serving: JoinHandle<()>,
    address: SocketAddr,
}

impl Stage {
    async fn build(scene: &Scene, home: &Path, speed: Option<f64>) -> Result<Self> {
        let world = Arc::new(Mutex::new(scene.world()));
        let clock = SteppedClock::new(Scene::start());
        let shared_clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let cloud = CloudServer::start(CloudConfig::new(Arc::clone(&world), Arc::clone(&shared_clock)))
            .await
            .context("failed to start the cloud")?;
        let policy = home.join("web.hcl");
        let token = home.join("samples-token");
        std::fs::write(&policy, Scene::policy()).context("failed to write the policy")?;
        std::fs::write(&token, TOKEN).context("failed to write the agents' token")?;
        let config = DaemonConfig {
            policies: vec![policy],
            state: Some(home.join("state")),
            // Nobody edits the demo's policy.
            watch_every: Duration::ZERO,
            ..DaemonConfig::default()
        };
        let connect = Arc::new(Loopback { endpoint: cloud.endpoint() });
        let daemon =
            Daemon::start(config, connect, shared_clock).await.context("failed to start the daemon")?;
        let listener = listen().await?;
        let address = listener.local_addr().context("failed to listen")?;
        let access = Access {
            samples: Some(TokenFile::open(&token).context("failed to read the agents' token")?),
            ..Access::default()
        };
        let handle = daemon.handle();
        let server = handle.clone();
        let serving =
            tokio::spawn(async move { server.serve(listener, None, access, Limits::default()).await });
        let play = Play {
            world,
            clock,
            cloud,
            daemon: handle,
            agents: Agents::new(address, TOKEN.to_owned(), Scene::start()),
            fleet: FleetId::new(FLEET),
            speed,
            length: scene.length,
            seen: Seen::new(scene.length),
        };
        Ok(Self { play, daemon, serving, address })
    }
}

/// The usual port where it is free, so that `status` finds the demo; else any.
async fn listen() -> Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("failed to listen on loopback"),
    }
}

/// Connects the daemon to the demo's own cloud, by the SDK.
struct Loopback {
    endpoint: String,
}

impl Connect for Loopback {
    fn connect<'a>(&'a self, region: &'a Region, clock: Arc<dyn Clock>) -> Answer<'a, RegionPorts> {
        Box::pin(async move {
            let config = AwsConfig {
                endpoints: Endpoints::all(self.endpoint.clone()),
                credentials: Credentials::Static {
                    access_key_id: "muster".to_owned(),
                    secret_access_key: Secret::new("muster-secret"),
                },
                ..AwsConfig::new(region.clone())
            };
            let aws = Arc::new(Aws::connect(config, clock).await);
            Ok(RegionPorts { cloud: Arc::<Aws>::clone(&aws), metrics: aws })
        })
    }
}

fn summarise(play: &Play, scene: &Scene, complete: bool) -> Result<Summary> {
    let world = play.world.lock().unwrap_or_else(PoisonError::into_inner);
    let scores = world.scores(&play.fleet).context("the demo's fleet is gone")?;
    // The cloud counts by the caller's application id; there is one caller.
    let calls = world.calls();
    let caller = calls.iter().map(|(caller, ..)| caller.to_owned()).next().unwrap_or_default();
    Ok(Summary::new(&scene.title, complete, scores, play.seen.moved, calls, &caller))
}

fn read_trace(path: &Path) -> Result<Demand> {
    let name = path.display().to_string();
    let mut file = File::open(path).with_context(|| format!("failed to open {name}"))?;
    let mut magic = [0; 2];
    let zipped = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    let file = File::open(path).with_context(|| format!("failed to open {name}"))?;
    decode(&name, file, zipped)
}

fn decode(name: &str, data: impl Read, zipped: bool) -> Result<Demand> {
    let reader: Box<dyn BufRead> = if zipped {
        Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(data))))
    } else {
        Box::new(BufReader::new(data))
    };
    Ok(Demand::read_csv(name, reader)?)
}

/// Whether the user wants it to end: Ctrl-C or SIGTERM.
#[derive(Clone)]
pub(crate) struct Interrupted(tokio::sync::watch::Receiver<bool>);

impl Interrupted {
    fn watch() -> Self {
        let (sender, receiver) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            let terminated = async {
                match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                    Ok(mut signal) => drop(signal.recv().await),
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                () = terminated => {}
            }
            sender.send_replace(true);
            // Kept open: a closed channel would end every wait.
            std::future::pending::<()>().await;
        });
        Self(receiver)
    }
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }
    async fn wait(mut self) {
        // An error says that the watcher is gone: the runtime ends.
        let _ = self.0.wait_for(|set| *set).await;
    }
}
