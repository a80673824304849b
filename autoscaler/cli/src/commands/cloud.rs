//! `cloud`: a simulated AWS account on loopback.

use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::log::Log;
use crate::out::{self, Terminal};
use crate::render::counted;
use fleet::parse_duration;
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use fleet_cloud::world_file::{self, WorldFile, WorldFileError};
use fleet_cloud::{CloudConfig, CloudServer, Credential, StartError};
use fleet_sim::World;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The key that requests to it must be signed with. No secret: it opens nothing but this simulation.
const ACCESS_KEY: &str = "muster";
const SECRET: &str = "muster-secret";

/// Serve a simulated AWS account on loopback: EC2, CloudWatch, SQS, SSM, STS, Application Auto Scaling, IMDS.
///
/// It behaves as EC2 does (modifications that last, describes that lag, throttling, pools that run dry) and
/// answers real AWS clients. What a client needs in its environment is printed on standard output. The world's time
/// runs at --speed; signatures keep the host's, and so do `run` and `plan`: beside them leave it at 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler cloud --port 4566
  muster-autoscaler cloud --world my-world.hcl --seed 7 --history 2h

Then, elsewhere, with the printed environment:
  aws ec2 describe-spot-fleet-requests
  muster-autoscaler plan --policy web.hcl")]
pub struct Args {
    /// Port on 127.0.0.1; 0: any that is free.
    #[arg(long, default_value_t = 4566)]
    port: u16,
    /// File that says what the account is made of; without it: four pools, and a fleet under constant load.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// What chance is made of; the same seed makes the same world.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many times as fast as real time the world's time runs.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    speed: f64,
    /// How long the account has been there when it opens: there are metrics of so long, traces and faults began so
    /// long ago.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_history)]
    history: Duration,
    #[command(flatten)]
    log: Log,
}

/// The longest history: longer ones take minutes to play, and no reader asks for more.
const LONGEST_HISTORY: Duration = Duration::from_secs(30 * 86_400);

fn parse_history(text: &str) -> Result<Duration, String> {
    let history = parse_duration(text).map_err(|error| error.to_string())?;
    if history > LONGEST_HISTORY { Err("at most 30d".to_owned()) } else { Ok(history) }
}

impl Args {
    /// Serves until it is told to stop.
    pub fn run(self, terminal: Terminal) -> Outcome {
        self.log.start(terminal)?;
        let world = self.world(terminal)?;
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .or_exit(Exit::TryAgain, "start the runtime")?
            .block_on(self.serve(world))
    }

    fn world(&self, terminal: Terminal) -> Result<WorldFile, Failure> {
        let read = if let Some(path) = &self.world {
            world_file::read(path)
        } else {
            let file = autoscaler_policy::File::new("the default world", world_file::DEFAULT);
            world_file::decode(&file, |_| Err("cannot be read".to_owned())).map_err(WorldFileError::Wrong)
        };
        match read {
            Ok(world) => {
                out::say_as_is(&world.warnings.render(terminal.colour_err));
                Ok(world)
            }
            Err(WorldFileError::Wrong(problems)) => {
                out::say_as_is(&problems.render(terminal.colour_err));
                Err(Failure::new(Exit::Configuration, "the world file cannot be used"))
            }
            Err(error) => Err(Failure::because(Exit::Configuration, "make the world", error)),
        }
    }

    async fn serve(self, WorldFile { spec, start, .. }: WorldFile) -> Outcome {
        let mut terminate = signal(SignalKind::terminate()).or_exit(Exit::Bug, "listen to signals")?;
        let clock = Arc::new(SystemClock::new());
        let opens = match start {
            Some(start) => start + self.history,
            None => clock.wall().floor(Duration::from_secs(1)),
        };
        let region = spec.region.clone();
        let fleets = spec.fleets.len();
        let mut world = World::new(spec, self.seed, opens - self.history);
        world.advance(opens);
        let config = CloudConfig {
            listen: (Ipv4Addr::LOCALHOST, self.port).into(),
            speed: Some(self.speed),
            seed: self.seed,
            credentials: vec![Credential::new(ACCESS_KEY, SECRET)],
            ..CloudConfig::new(Arc::new(Mutex::new(world)), clock)
        };
        let server = CloudServer::start(config).await.map_err(not_started)?;
        let endpoint = server.endpoint();
        let environment = format!(
            "export AWS_ENDPOINT_URL={endpoint} AWS_REGION={region} AWS_DEFAULT_REGION={region} \
             AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET}\n"
        );
        out::print(&environment).or_exit(Exit::Unavailable, "print the environment")?;
        out::say(format_args!("serving {region} with {}; Ctrl-C ends", counted(fleets, "fleet")));
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.or_exit(Exit::Bug, "listen to signals")?,
            _ = terminate.recv() => {}
        }
        server.stop().await;
        Ok(Exit::Success)
    }
}

fn not_started(error: StartError) -> Failure {
    let exit = match error {
        StartError::Speed { .. } => Exit::Usage,
        StartError::Listen { .. } => Exit::Unavailable,
    };
    Failure::because(exit, "serve the cloud", error)
}
