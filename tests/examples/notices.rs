//! How soon the real process acts on notices, with real Nomad: from the queue, by a push, and from real agents.
//!
//! `cargo run --release -p tests --example notices -- [--nodes 6] [--rounds 10] [--agents 1]`; needs `muster-autoscaler`
//! beside it, with agents `muster-bootstrap`, too, built in the same profile, and what `tests/run setup` gets.
//!
//! A fleet of as many instances as there are nodes, each a real Nomad client. In a round each is interrupted, one after
//! the other, the fleet at rest in between. Then the nodes are made eligible again, and the next round has a new account,
//! with the same ids, and a new process: so that few clients are good for many interruptions. Six in a round are as many as
//! a fleet's writes in a minute: what comes one by one beyond that waits for its turn (PACE), and is not measured here.
//!
//! Half of the rounds (`queue`) the process hears of it by SQS alone, from the moment that the message is in the queue;
//! half (`push`) by the agent's `POST /v1/notices` alone, from the moment before the connection is opened. EC2 itself,
//! which tells it as well, is asked far less often.
//!
//! With `--agents 1` a `muster-bootstrap` watches each instance in place of both (`agent`): from the moment that the notice
//! stands in its metadata service, which it reads once a second, by its own proof of who it is.
//!
//! Prints JSON: for each way how many there were, and, in seconds, the median and the 99th percentile (by the nearest
//! rank: of fewer than a hundred that is the worst) of the time until Nomad had made the node ineligible, and until EC2 had
//! the request for the replacement; with agents also of the time until both were so: the agent had the leader's confirmation,
//! and the node was ineligible.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a tool, and it takes times")]

use fleet::{InstanceId, Timestamp};
use muster_test_servers::{NomadOptions, wait_for};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tests::agent::{self, Agent};
use tests::ground::{Cloud, Daemon, Site, request_from};

/// An agent's token for all, and where it stands.
const TOKEN: (&str, &str) = ("samples-token", "a-token-of-all-agents");
/// What the fleet has to serve: next to nothing.
const LOAD: f64 = 0.5;
/// How often the account is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// How the process hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Queue,
    Push,
    Agent,
}

impl Way {
    /// As metrics call it.
    const fn source(self) -> &'static str {
        match self {
            Self::Queue => "event_bridge",
            Self::Push | Self::Agent => "agent",
        }
    }
}

/// How soon one notice was acted upon.
#[derive(Clone, Copy, Debug)]
struct Taken {
    ineligible: Duration,
    requested: Duration,
    /// Where an agent told of it: until that had the leader's word, and the node was ineligible.
    confirmed: Option<Duration>,
}

/// What was asked for: how many nodes, how many rounds of each way, whether by agents.
fn options() -> (u32, u32, bool) {
    let (mut nodes, mut rounds, mut agents) = (6, 10, 0);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse().ok());
        let value = value.unwrap_or_else(|| panic!("{word} needs a number"));
        match word.as_str() {
            "--nodes" => nodes = value,
            "--rounds" => rounds = value,
            "--agents" => agents = value,
            _ => panic!("no option {word}"),
        }
    }
    (nodes, rounds, agents > 0)
}

fn main() {
    let (nodes, rounds, by_agents) = options();
    let ways: &[Way] = if by_agents { &[Way::Agent] } else { &[Way::Queue, Way::Push] };
    let mut site = Site::start(nodes, nodes, NomadOptions::default(), None);
    site.write(TOKEN.0, TOKEN.1);
    let ids = site.cloud.living();
    let mut taken = Vec::new();
    for (round, way) in (0..rounds).flat_map(|_| ways.iter().copied()).enumerate() {
        if round > 0 {
            site.cloud = Cloud::start(nodes, LOAD);
            assert_eq!(site.cloud.living(), ids, "a new account has the same ids, or the nodes are nobody's");
            for instance in &ids {
                give_back(&site, instance);
            }
        }
        site.write("web.hcl", &policy(&site, nodes));
        taken.extend(interrupt_all(&site, way).into_iter().map(|one| (way, one)));
        std::fs::remove_dir_all(site.directory().join("state")).expect("its state is there");
    }
    let of = |way| taken.iter().filter(|(of, _)| *of == way).map(|(_, one)| *one).collect::<Vec<_>>();
    if by_agents {
        println!("{}", json!({ "agent": figures(&of(Way::Agent)) }));
    } else {
        println!("{}", json!({ "queue": figures(&of(Way::Queue)), "push": figures(&of(Way::Push)) }));
    }
}

/// The site's policy, with room for a replacement of each.
fn policy(site: &Site, nodes: u32) -> String {
    let capacity = format!("min = {nodes}\n    max = {}\n    surge = {nodes}\n", 2 * nodes);
    site.policy(nodes).replace(&format!("min = {nodes}\n"), &capacity)
}

/// Makes a node as it was: eligible, and not drained.
fn give_back(site: &Site, instance: &InstanceId) {
    let path = format!("/v1/node/{}/drain", site.nomad.node_id(instance.as_str()));
    site.nomad.call("POST", &path, &json!({ "DrainSpec": null, "MarkEligible": true }));
    wait_for("the node to be as before", || {
        (site.is_eligible(instance) && !site.drains(instance)).then_some(())
    });
}

/// One round.
fn interrupt_all(site: &Site, way: Way) -> Vec<Taken> {
    let instances = site.cloud.living();
    let mut daemon = match way {
        Way::Queue => site.daemon("state", &[]),
        Way::Push => site.daemon_without_queue("state", &["--samples-token-file", TOKEN.0]),
        Way::Agent => agent::daemon(site, "state"),
    };
    let watched = if way == Way::Agent { instances.as_slice() } else { &[] };
    let mut agents: Vec<Agent> =
        watched.iter().map(|instance| Agent::start(site, instance, &daemon)).collect();
    wait_for("a first decision", || daemon.get("/v1/ready"));
    let taken = instances.iter().enumerate().map(|(number, victim)| {
        wait_for("the fleet to be at rest", || rests(site, &daemon).then_some(()));
        interrupt(site, daemon.address(), victim, way, agents.get_mut(number))
    });
    let taken: Vec<Taken> = taken.collect();
    let count = u32::try_from(taken.len()).expect("a few");
    let source = format!("muster_notices_total{{kind=\"spot_interruption\",source=\"{}\"}} ", way.source());
    let metrics = daemon.get("/metrics").expect("it answers");
    let told = metrics.lines().find_map(|line| line.strip_prefix(&source)).unwrap_or("0");
    assert_eq!(told.parse(), Ok(f64::from(count)), "each was first told this way: {metrics}");
    assert_eq!(daemon.said("\"ERROR\""), 0);
    drop(agents);
    daemon.stop();
    taken
}

/// Whether nothing is being changed, and the process has seen that.
fn rests(site: &Site, daemon: &Daemon) -> bool {
    let truth = site.cloud.world().truth(site.cloud.fleet()).expect("it is there");
    let fleet = &daemon.status()["fleets"][0];
    fleet["state"] == "active" && fleet["target"] == truth.target && fleet["writing"].is_null()
}

/// Interrupts one instance, and takes the times.
fn interrupt(
    site: &Site,
    daemon: SocketAddr,
    victim: &InstanceId,
    way: Way,
    agent: Option<&mut Agent>,
) -> Taken {
    let path = format!("/v1/node/{}", site.nomad.node_id(victim.as_str()));
    let index = site.nomad.call("GET", &path, &Value::Null)["ModifyIndex"].clone();
    let address = site.cloud.world().private_address(victim).expect("it has one");
    let before = site.cloud.target();
    let at = site.cloud.interrupt(victim);
    let noticed = Instant::now();
    thread::scope(|scope| {
        let requested = scope.spawn(|| {
            until(|| site.cloud.target() > before);
            noticed.elapsed()
        });
        let told = scope.spawn(move || {
            agent.map(|agent| {
                agent.wait_confirmed();
                noticed.elapsed()
            })
        });
        if way == Way::Push {
            tell(daemon, address, victim, at);
        }
        let ineligible = ineligible(site, &path, index, noticed);
        let confirmed = told.join().expect("it ends").map(|confirmed| confirmed.max(ineligible));
        Taken { ineligible, requested: requested.join().expect("it ends"), confirmed }
    })
}

/// Waits until Nomad has made a node ineligible, and is told so by Nomad at once.
fn ineligible(site: &Site, path: &str, mut index: Value, noticed: Instant) -> Duration {
    loop {
        let node = site.nomad.call("GET", &format!("{path}?index={index}&wait=10s"), &Value::Null);
        if node["SchedulingEligibility"] == "ineligible" {
            return noticed.elapsed();
        }
        assert!(noticed.elapsed() < Duration::from_secs(60), "nobody minds the notice: {node}");
        index = node["ModifyIndex"].clone();
    }
}

/// Looks until something is so.
fn until(mut so: impl FnMut() -> bool) {
    // Nobody sends anything: that is a sleep with an end.
    let (_open, never) = mpsc::channel::<()>();
    for _ in 0..60_000 {
        if so() {
            return;
        }
        assert_eq!(never.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout));
    }
    panic!("nobody minds the notice");
}

/// An agent tells what its metadata service announces, from its own address.
fn tell(daemon: SocketAddr, from: IpAddr, instance: &InstanceId, at: Timestamp) {
    let notice =
        json!({ "kind": "spot_interruption", "at_ms": at, "deadline_ms": at + Duration::from_secs(120) });
    let body = json!({ "version": 1, "instance": instance, "notices": [notice] }).to_string();
    let authorization = format!("Bearer {}", TOKEN.1);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let answer = request_from(from, daemon, "POST", "/v1/notices", &headers, &body);
    assert!(answer.status == 200 && answer.body.contains("\"confirmed\":1"), "{answer:?}");
}

fn figures(taken: &[Taken]) -> Value {
    let of = |time: fn(&Taken) -> Option<Duration>| {
        let mut seconds: Vec<f64> = taken.iter().filter_map(time).map(|time| time.as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        (!seconds.is_empty()).then(|| json!({ "p50": rank(&seconds, 50), "p99": rank(&seconds, 99) }))
    };
    let (ineligible, requested) = (of(|one| Some(one.ineligible)), of(|one| Some(one.requested)));
    let confirmed = of(|one| one.confirmed);
    json!({ "count": taken.len(), "ineligible": ineligible, "requested": requested, "confirmed": confirmed })
}

/// A percentile by the nearest rank.
fn rank(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(place - 1).copied().unwrap_or_default()
}
