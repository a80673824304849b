//! Consequences against a real Consul, on time that a test moves.

use super::*;
use crate::host::{Host, Request};
use crate::imds::Imds;
use crate::no_aws::NoAws;
use crate::node::Directories;
use crate::watch::tests::{OWN, Paper, proved};
use bootstrap_config::{ConsulSettings, IdentitySettings, Server, Settings};
use fleet::ports::Clock;
use fleet::{InstanceId, Timestamp};
use fleet_clock::SteppedClock;
use muster_test_servers::{Consul as RealConsul, ConsulOptions, Plays, StandIn};
use serde_json::{Value, json};
use std::sync::{Barrier, Mutex};

const KEY: &str = "/v1/kv/muster-bootstrap/breaker/ami-1";
const OTHER: &str = "i-0fedcba9876543210";

struct Bench {
    one: One,
    consul: RealConsul,
}

/// A node of an image of which one may end itself.
struct One {
    node: Arc<Node>,
    host: Arc<Paper>,
    clock: SteppedClock,
    say: mpsc::UnboundedSender<Consequence>,
    _orders: mpsc::Receiver<Command>,
    _place: tempfile::TempDir,
}

impl One {
    /// * `breaker`: how many of its image may.
    fn new(instance: &str, consul: String, breaker: u32) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let clock = SteppedClock::new(Timestamp::from_secs(1_000_000));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let server = Server { address: consul, ..Server::default() };
        let mut base = Settings {
            consul: Some(ConsulSettings { server, ..ConsulSettings::default() }),
            ..Settings::default()
        };
        base.watch.breaker = breaker;
        let directories = Directories {
            config: place.path().join("bootstrap.hcl"),
            state: place.path().join("state"),
            run: place.path().join("run"),
        };
        let imds = Imds::new(&IdentitySettings::default(), Arc::clone(&shared)).expect("a client");
        let host = Arc::<Paper>::default();
        let (node, ..) =
            Node::new(base, directories, shared, imds, Arc::clone(&host) as Arc<dyn Host>, Arc::new(NoAws));
        let mut own = proved();
        own.document.instance = InstanceId::new(instance);
        node.set_proved(own);
        let (commands, orders) = mpsc::channel(4);
        let (say, consequences) = mpsc::unbounded_channel();
        tokio::spawn(carry_out(Arc::clone(&node), commands, consequences));
        Self { node, host, clock, say, _orders: orders, _place: place }
    }

    fn terminate(&self) {
        let why = "nomad: it is not proved".to_owned();
        self.say.send(Consequence::Terminate { step: Step::Nomad, why }).expect("it listens");
    }

    fn powered_off(&self) -> bool {
        self.host.asked.lock().expect("whole").contains(&Request::PowerOff)
    }

    /// Lets the node go on, without time, until something holds.
    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waits = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waits).await;
        waited.unwrap_or_else(|_| panic!("waited for {what}: {:?}", self.node.alarms()));
    }

    /// Time goes by, in steps in which the node does what is due.
    async fn pass(&self, seconds: u64) {
        let end = self.clock.monotonic() + Duration::from_secs(seconds);
        loop {
            self.until("the node to have done what was due", || self.clock.next_wake().is_some()).await;
            match self.clock.next_wake().filter(|wake| *wake <= end) {
                Some(wake) => self.clock.advance_to(wake),
                None => return self.clock.advance_to(end),
            }
        }
    }
}

impl std::ops::Deref for Bench {
    type Target = One;
    fn deref(&self) -> &One {
        &self.one
    }
}

impl Bench {
    /// A node of an image of which one may end itself, and another one has.
    fn new() -> Self {
        Self::of(1)
    }

    /// * `breaker`: how many of the image may.
    fn of(breaker: u32) -> Self {
        let consul = RealConsul::start(&ConsulOptions::default());
        consul.call("PUT", KEY, &json!({"ended": [OTHER]}));
        Self { one: One::new(OWN, consul.address(), breaker), consul }
    }

    fn ended(&self) -> Value {
        self.consul.call("GET", &format!("{KEY}?raw"), &Value::Null)
    }
    fn set_ended(&self, ended: &[&str]) {
        self.consul.call("PUT", KEY, &json!({"ended": ended}));
    }
}

#[tokio::test]
async fn a_node_that_may_not_end_itself_asks_again_until_it_may() {
    let bench = Bench::new();
    bench.terminate();
    bench.until("an alarm", || !bench.node.alarms().is_empty()).await;
    let alarm = bench.node.alarms()[0].clone();
    assert!(alarm.contains("1 nodes of this image have ended themselves in a row"), "{alarm}");
    // Somebody closes the breaker.
    bench.set_ended(&[]);
    bench.pass(50).await;
    assert!(!bench.powered_off(), "it asks once a minute");
    bench.pass(30).await;
    bench.until("its end", || bench.powered_off()).await;
    assert_eq!(bench.ended(), json!({"ended": [OWN]}));
}

#[tokio::test]
async fn a_step_that_stands_after_all_takes_the_alarm_back_and_ends_nobody() {
    let bench = Bench::new();
    bench.terminate();
    bench.until("an alarm", || !bench.node.alarms().is_empty()).await;
    bench.say.send(Consequence::Restore { step: Step::Nomad }).expect("it listens");
    bench.until("an end of the alarm", || bench.node.alarms().is_empty()).await;
    bench.set_ended(&[]);
    bench.pass(200).await;
    assert!(!bench.powered_off());
}

#[tokio::test]
async fn a_node_that_becomes_ready_closes_the_breaker_of_its_image() {
    let bench = Bench::new();
    bench.pass(60).await;
    assert_eq!(bench.ended(), json!({"ended": [OTHER]}), "it is not ready");
    bench.node.set_ready(bench.clock.wall());
    bench.pass(30).await;
    bench.until("a breaker that is closed", || bench.ended() == json!({"ended": []})).await;
}

#[tokio::test]
async fn a_node_that_was_counted_and_lives_is_counted_no_more_and_closes_the_breaker_once_more() {
    let bench = Bench::of(2);
    bench.terminate();
    bench.until("its end", || bench.powered_off()).await;
    assert_eq!(bench.ended(), json!({"ended": [OTHER, OWN]}));
    // It was not powered off yet, and the step stands after all.
    bench.say.send(Consequence::Restore { step: Step::Nomad }).expect("it listens");
    bench.until("another one's place", || bench.ended() == json!({"ended": [OTHER]})).await;
    bench.node.set_ready(bench.clock.wall());
    bench.pass(30).await;
    bench.until("a breaker that is closed", || bench.ended() == json!({"ended": []})).await;
    // That was the image then.
    bench.set_ended(&[OTHER]);
    bench.pass(60).await;
    assert_eq!(bench.ended(), json!({"ended": [OTHER]}), "what it said once it does not say again");
    bench.terminate();
    bench.until("its end", || bench.ended() == json!({"ended": [OTHER, OWN]})).await;
    bench.pass(60).await;
    assert_eq!(bench.ended(), json!({"ended": [OTHER, OWN]}), "it is to end, however ready it was");
    bench.say.send(Consequence::Restore { step: Step::Nomad }).expect("it listens");
    bench.pass(30).await;
    bench.until("a breaker that is closed again", || bench.ended() == json!({"ended": []})).await;
}

#[tokio::test]
async fn a_node_that_root_does_not_power_off_is_not_counted() {
    let bench = Bench::new();
    bench.set_ended(&[]);
    *bench.host.fails.lock().expect("whole") = 1;
    bench.terminate();
    bench.until("an alarm", || !bench.node.alarms().is_empty()).await;
    let alarm = bench.node.alarms()[0].clone();
    assert!(alarm.contains("stays") && alarm.contains("out of order"), "{alarm}");
    assert_eq!(bench.ended(), json!({"ended": []}), "it lives");
    let asked = || bench.host.asked.lock().expect("whole").len();
    assert_eq!(asked(), 1);
    bench.pass(90).await;
    bench.until("its end", || asked() == 2).await;
    assert_eq!(bench.ended(), json!({"ended": [OWN]}));
}

/// A Consul with one key. The first two who read it have both read it before either goes on.
fn reads_together() -> StandIn {
    use base64::Engine as _;
    let (barrier, reads) = (Barrier::new(2), Mutex::new(0));
    let key = Mutex::new((0_u64, String::new()));
    StandIn::start(move |asked| {
        let Some(query) = asked.path.strip_prefix(KEY) else { return Plays::text("") };
        if asked.method == "GET" {
            let held = key.lock().expect("whole").clone();
            let number = {
                let mut reads = reads.lock().expect("whole");
                *reads += 1;
                *reads
            };
            if number <= 2 {
                barrier.wait();
            }
            let value = base64::engine::general_purpose::STANDARD.encode(&held.1);
            let row = json!([{"Value": value, "ModifyIndex": held.0}]);
            return if held.0 == 0 { Plays::status(404) } else { Plays::json(&row) };
        }
        let mut held = key.lock().expect("whole");
        let is_due = query == format!("?cas={}", held.0);
        if is_due {
            *held = (held.0 + 1, asked.body.clone());
        }
        Plays::json(&json!(is_due))
    })
}

#[tokio::test]
async fn of_two_nodes_that_ask_at_once_no_more_end_than_may() {
    let consul = reads_together();
    let nodes = [OWN, OTHER].map(|instance| One::new(instance, consul.address(), 1));
    nodes.iter().for_each(One::terminate);
    let ended = || nodes.iter().filter(|one| one.powered_off()).count();
    let told = || nodes.iter().filter(|one| !one.node.alarms().is_empty()).count();
    nodes[0].until("both to know", || ended() + told() == 2).await;
    assert_eq!((ended(), told()), (1, 1));
    let stays = nodes.iter().find(|one| !one.powered_off()).expect("one stays");
    let alarm = stays.node.alarms()[0].clone();
    assert!(alarm.contains("1 nodes of this image have ended themselves in a row"), "{alarm}");
}
