//! Consequences against a real Consul, on time that a test moves.

use super::*;
use crate::host::{Host, Request};
use crate::imds::Imds;
use crate::no_aws::NoAws;
use crate::node::Directories;
use crate::watch::tests::{OWN, Paper, proved};
use bootstrap_config::{ConsulSettings, IdentitySettings, Server, Settings};
use fleet::Timestamp;
use fleet::ports::Clock;
use fleet_clock::SteppedClock;
use muster_test_servers::{Consul as RealConsul, ConsulOptions};
use serde_json::{Value, json};

const KEY: &str = "/v1/kv/muster-bootstrap/breaker/ami-1";
const OTHER: &str = "i-0fedcba9876543210";

struct Bench {
    node: Arc<Node>,
    host: Arc<Paper>,
    clock: SteppedClock,
    consul: RealConsul,
    say: mpsc::UnboundedSender<Consequence>,
    _orders: mpsc::Receiver<Command>,
    _place: tempfile::TempDir,
}

impl Bench {
    /// A node of an image of which one may end itself, and another one has.
    fn new() -> Self {
        let consul = RealConsul::start(&ConsulOptions::default());
        consul.call("PUT", KEY, &json!({"ended": [OTHER]}));
        let place = tempfile::tempdir().expect("a directory");
        let clock = SteppedClock::new(Timestamp::from_secs(1_000_000));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let server = Server { address: consul.address(), ..Server::default() };
        let mut base = Settings {
            consul: Some(ConsulSettings { server, ..ConsulSettings::default() }),
            ..Settings::default()
        };
        base.watch.breaker = 1;
        let directories = Directories {
            config: place.path().join("bootstrap.hcl"),
            state: place.path().join("state"),
            run: place.path().join("run"),
        };
        let imds = Imds::new(&IdentitySettings::default(), Arc::clone(&shared)).expect("a client");
        let host = Arc::<Paper>::default();
        let (node, ..) =
            Node::new(base, directories, shared, imds, Arc::clone(&host) as Arc<dyn Host>, Arc::new(NoAws));
        node.set_proved(proved());
        let (commands, orders) = mpsc::channel(4);
        let (say, consequences) = mpsc::unbounded_channel();
        tokio::spawn(carry_out(Arc::clone(&node), commands, consequences));
        Self { node, host, clock, consul, say, _orders: orders, _place: place }
    }

    fn terminate(&self) {
        let why = "nomad: it is not proved".to_owned();
        self.say.send(Consequence::Terminate { step: Step::Nomad, why }).expect("it listens");
    }

    fn powered_off(&self) -> bool {
        self.host.asked.lock().expect("whole").contains(&Request::PowerOff)
    }

    fn ended(&self) -> Value {
        self.consul.call("GET", &format!("{KEY}?raw"), &Value::Null)
    }

    /// Lets the node go on, without time, until something holds.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waits = async {
            while !holds(self) {
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
            self.until("the node to have done what was due", |bench| bench.clock.next_wake().is_some()).await;
            match self.clock.next_wake().filter(|wake| *wake <= end) {
                Some(wake) => self.clock.advance_to(wake),
                None => return self.clock.advance_to(end),
            }
        }
    }
}

#[tokio::test]
async fn a_node_that_may_not_end_itself_asks_again_until_it_may() {
    let bench = Bench::new();
    bench.terminate();
    bench.until("an alarm", |bench| !bench.node.alarms().is_empty()).await;
    let alarm = bench.node.alarms()[0].clone();
    assert!(alarm.contains("1 nodes of this image have ended themselves in a row"), "{alarm}");
    // Somebody closes the breaker.
    bench.consul.call("PUT", KEY, &json!({"ended": []}));
    bench.pass(50).await;
    assert!(!bench.powered_off(), "it asks once a minute");
    bench.pass(30).await;
    bench.until("its end", Bench::powered_off).await;
    assert_eq!(bench.ended(), json!({"ended": [OWN]}));
}

#[tokio::test]
async fn a_step_that_stands_after_all_takes_the_alarm_back_and_ends_nobody() {
    let bench = Bench::new();
    bench.terminate();
    bench.until("an alarm", |bench| !bench.node.alarms().is_empty()).await;
    bench.say.send(Consequence::Restore { step: Step::Nomad }).expect("it listens");
    bench.until("an end of the alarm", |bench| bench.node.alarms().is_empty()).await;
    bench.consul.call("PUT", KEY, &json!({"ended": []}));
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
    bench.until("a breaker that is closed", |bench| bench.ended() == json!({"ended": []})).await;
}
