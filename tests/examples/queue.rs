//! Reads a queue full of messages, most of them about strangers, over loopback and the AWS SDK, as the daemon does.
//!
//! `cargo run --release -p tests --example queue -- [--messages 10000] [--ours 100] [--describe-every 1s]`
//!
//! What is about strangers is acknowledged at the next describe, which is pretended here. The queue is served by
//! another process. Prints JSON: how long it took until the queue was empty, in seconds; how many messages were
//! received and deleted; how much memory this process took at most, and how much of that since it began to read, in
//! KiB.
#![allow(clippy::print_stdout, reason = "a tool")]

use autoscaler::notices::{DeadLetters, Delivery, Reader, ReaderConfig};
use fleet::ports::{Clock, Queue};
use fleet::{MessageId, parse_duration};
use fleet_aws::{Aws, AwsConfig, Credentials, Endpoints, Secret};
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer};
use fleet_sim::{World, WorldSpec};
use serde_json::json;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// What was asked for.
struct Options {
    messages: u32,
    ours: u32,
    describe_every: Duration,
    /// Only serves the queue, until its input ends.
    serve: bool,
}

impl Options {
    fn read() -> Fallible<Self> {
        let mut options =
            Self { messages: 10_000, ours: 100, describe_every: Duration::from_secs(1), serve: false };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--messages" => options.messages = value()?.parse()?,
                "--ours" => options.ours = value()?.parse()?,
                "--describe-every" => options.describe_every = parse_duration(&value()?)?,
                "--serve" => options.serve = true,
                _ => return Err(format!("no option {word}").into()),
            }
        }
        Ok(options)
    }
}

/// A message as EventBridge sends it when an instance changes its state.
fn message(number: u32) -> String {
    json!({
        "version": "0",
        "id": format!("00000000-0000-4000-8000-{number:012x}"),
        "detail-type": "EC2 Instance State-change Notification",
        "source": "aws.ec2",
        "account": "123456789012",
        "time": "2026-03-01T08:00:00Z",
        "region": "eu-west-1",
        "resources": [format!("arn:aws:ec2:eu-west-1:123456789012:instance/i-{number:017x}")],
        "detail": {"instance-id": format!("i-{number:017x}"), "state": "running"},
    })
    .to_string()
}

/// Resident memory of this process, in KiB.
fn resident() -> Fallible<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

async fn connect(url: &str, clock: &Arc<dyn Clock>) -> Aws {
    let mut config = AwsConfig::new("eu-west-1".into());
    config.endpoints = Endpoints::all(url);
    config.credentials = Credentials::Static {
        access_key_id: "muster".to_owned(),
        secret_access_key: Secret::new("muster-secret"),
    };
    Aws::connect(config, Arc::clone(clock)).await
}

/// Serves a queue with so many messages in it, says where, and ends with its input.
async fn serve(messages: u32, clock: &Arc<dyn Clock>) -> Fallible<()> {
    let world = World::new(WorldSpec::default(), 1, clock.wall());
    let mut config = CloudConfig::new(Arc::new(Mutex::new(world)), Arc::clone(clock));
    config.speed = Some(1.0);
    let server = CloudServer::start(config).await?;
    server.send((0..messages).map(message));
    println!("{}", server.endpoint());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    server.stop().await;
    Ok(())
}

/// The process that serves the queue. It ends with this one, for then its input does.
fn another(messages: u32) -> Fallible<(Child, String)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--serve", "--messages", &messages.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut url = String::new();
    BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut url)?;
    Ok((child, url.trim().to_owned()))
}

#[tokio::main]
async fn main() -> Fallible<()> {
    let options = Options::read()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    if options.serve {
        return serve(options.messages, &clock).await;
    }
    let (mut server, url) = another(options.messages)?;
    let aws = connect(&url, &clock).await;
    let queue: Arc<dyn Queue> = Arc::new(aws.queue(&format!("{url}/123456789012/muster-events")));
    // Connections and credentials are there before anything is measured.
    queue.depth().await?;
    let (before, began) = (resident()?, clock.monotonic());
    let (sender, mut deliveries) = mpsc::channel(64);
    let config = ReaderConfig::default();
    let reader =
        Reader::start("muster-events", queue, Arc::clone(&clock), config, DeadLetters::open(None)?, &sender);
    let mut strangers: Vec<MessageId> = Vec::new();
    let mut describe = tokio::time::interval(options.describe_every);
    let (mut seen, mut most) = (0, before);
    while reader.watch().counts().deleted < u64::from(options.messages) {
        tokio::select! {
            Some(Delivery { message, .. }) = deliveries.recv() => {
                seen += 1;
                // Ours are spread evenly over all: acted upon, and acknowledged at once.
                if options.ours > 0 && seen % (options.messages / options.ours).max(1) == 0 {
                    reader.acknowledge(&[message]);
                } else {
                    strangers.push(message);
                }
            }
            _ = describe.tick() => {
                most = most.max(resident()?);
                reader.acknowledge(&std::mem::take(&mut strangers));
            }
        }
    }
    let took = clock.monotonic().saturating_sub(began);
    let counts = reader.watch().counts();
    let result = json!({
        "seconds": took.as_secs_f64(),
        "received": counts.received,
        "deleted": counts.deleted,
        "resident_kib": most.max(resident()?),
        "grown_kib": most.max(resident()?).saturating_sub(before),
    });
    println!("{result:#}");
    reader.stop().await;
    drop(server.stdin.take());
    server.wait()?;
    Ok(())
}
