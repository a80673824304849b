//! What Consul is told of this node: whether it is good, and that its work goes elsewhere.

use super::*;
use crate::drive::Works as _;
use crate::node::Work;
use crate::watch::{health, maintenance};
use bootstrap_config::{ConsulSettings, NomadSettings};
use bootstrap_core::{Condition, Failure, OnFailure, Report, Step};

/// Consul's agent: what its maintenance is, and whether it knows this node's check.
struct Agent {
    server: StandIn,
    maintenance: Arc<Mutex<Option<String>>>,
    knows: Arc<Mutex<bool>>,
    /// It answers so many times that it cannot.
    fails: Arc<AtomicUsize>,
}

impl Agent {
    fn start() -> Self {
        let (maintenance, knows) = (Arc::<Mutex<Option<String>>>::default(), Arc::new(Mutex::new(true)));
        let fails = Arc::<AtomicUsize>::default();
        let (held, known, left) = (Arc::clone(&maintenance), Arc::clone(&knows), Arc::clone(&fails));
        let server = StandIn::start(move |asked| {
            if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                return Plays::status(500);
            }
            let mut held = held.lock().expect("whole");
            let mut known = known.lock().expect("whole");
            if asked.path.starts_with("/v1/agent/maintenance") {
                let on = asked.path.contains("enable=true");
                let reason = asked
                    .path
                    .split_once("reason=")
                    .map(|(_, reason)| reason.replace("%3A", ":").replace('+', " "));
                *held = reason.filter(|_| on);
            } else if asked.path.starts_with("/v1/agent/service/register") {
                *known = true;
            } else if asked.path.starts_with("/v1/agent/check/update") && !*known {
                return Plays::status(404);
            } else if asked.path == "/v1/agent/checks" {
                let held = held.as_ref().map(|reason| json!({"_node_maintenance": {"Notes": reason}}));
                return Plays::json(&held.unwrap_or_else(|| json!({})));
            } else if asked.path.starts_with("/v1/agent/service/") {
                return Plays::status(404);
            }
            Plays::text("")
        });
        Self { server, maintenance, knows, fails }
    }
    /// How often it was asked what it has.
    fn looks(&self) -> usize {
        self.server.times("GET /v1/agent/checks")
    }
    fn maintenance(&self) -> Option<String> {
        self.maintenance.lock().expect("whole").clone()
    }
    /// What it was told of this node last.
    fn told(&self) -> Option<Value> {
        let asked = self.server.asked().into_iter().rev();
        asked
            .filter(|asked| asked.path.starts_with("/v1/agent/check/update"))
            .map(|asked| asked.json())
            .next()
    }
}

/// Nomad's client, and what the servers say of work on its node.
fn nomad(work: &Arc<Mutex<Value>>) -> StandIn {
    let work = Arc::clone(work);
    StandIn::start(move |asked| match asked.path.as_str() {
        "/v1/status/leader?stale" => Plays::json(&json!("10.0.0.1:4647")),
        "/v1/agent/self" => Plays::json(&json!({
            "config": {"NodeName": OWN},
            "stats": {"client": {"node_id": "node", "last_heartbeat": "1s", "heartbeat_ttl": "10s"}},
        })),
        _ => Plays::json(&work.lock().expect("whole")),
    })
}

fn seen(eligible: bool, drains: bool) -> Value {
    json!({
        "Status": "ready", "NodePool": "default", "Drain": drains, "Attributes": {}, "Drivers": {},
        "SchedulingEligibility": if eligible { "eligible" } else { "ineligible" },
    })
}

fn drained() -> Value {
    let mut node = seen(false, false);
    node["LastDrain"] = json!({"Status": "complete"});
    node
}

fn bench(consul: &Agent, nomad: Option<&StandIn>) -> Bench {
    Bench::new(|base| {
        let mut settings = ConsulSettings::default();
        settings.server.address = consul.server.address();
        base.consul = Some(settings);
        base.nomad = nomad.map(|nomad| {
            let mut settings = NomadSettings::default();
            settings.server.address = nomad.address();
            settings
        });
    })
}

const OURS: &str = "muster-bootstrap: the work of this node goes elsewhere";

#[tokio::test]
async fn a_node_whose_work_goes_elsewhere_is_in_maintenance_until_it_stays() {
    let (consul, work) = (Agent::start(), Arc::new(Mutex::new(seen(true, false))));
    let nomad = nomad(&work);
    let bench = bench(&consul, Some(&nomad));
    let _keeping = tokio::spawn(maintenance::keep(Arc::clone(&bench.node)));
    let another = async || bench.seconds(12).await;
    another().await;
    assert_eq!((nomad.asked().len(), consul.looks()), (0, 0), "the steps are asking");
    bench.node.set_ready(THEN);
    another().await;
    assert!(nomad.times("GET /v1/node/node") > 0);
    assert_eq!(consul.maintenance(), None);
    // Somebody drains it: what waits for its turn serves until then, and who has an order for that is Nomad.
    *work.lock().expect("whole") = seen(false, true);
    another().await;
    another().await;
    assert!(bench.node.is_leaving());
    assert_eq!(consul.maintenance(), None);
    *work.lock().expect("whole") = drained();
    another().await;
    assert_eq!(consul.maintenance().as_deref(), Some(OURS));
    // Whoever takes it away does not know better.
    *consul.maintenance.lock().expect("whole") = None;
    another().await;
    assert_eq!(consul.maintenance().as_deref(), Some(OURS));
    *work.lock().expect("whole") = seen(true, false);
    another().await;
    assert_eq!(consul.maintenance(), None);
    // Where nothing is new Nomad is asked every ten seconds, and Consul every minute.
    let before = (nomad.times("GET /v1/node/node"), consul.looks());
    bench.seconds(60).await;
    let (nodes, looks) = (nomad.times("GET /v1/node/node") - before.0, consul.looks() - before.1);
    assert!((5..=7).contains(&nodes) && (1..=2).contains(&looks), "{nodes} {looks}");
    // What somebody else has said is theirs to take back.
    *consul.maintenance.lock().expect("whole") = Some("an operator".to_owned());
    *work.lock().expect("whole") = drained();
    another().await;
    *work.lock().expect("whole") = seen(true, false);
    another().await;
    assert_eq!(consul.maintenance().as_deref(), Some("an operator"));
}

#[tokio::test]
async fn an_interrupted_node_serves_until_its_work_has_left_or_nobody_can_say() {
    let (consul, work) = (Agent::start(), Arc::new(Mutex::new(seen(true, false))));
    let nomad = nomad(&work);
    let bench = bench(&consul, Some(&nomad));
    bench.node.set_ready(THEN);
    let _keeping = tokio::spawn(maintenance::keep(Arc::clone(&bench.node)));
    bench.node.set_interrupted(true);
    // Nobody drains it yet: others are to serve in its place first.
    for now in [seen(true, false), seen(false, false), seen(false, true)] {
        *work.lock().expect("whole") = now;
        bench.seconds(24).await;
        assert_eq!(consul.maintenance(), None);
    }
    // Its client has left: nobody takes what it ran out of Consul any more.
    drop(nomad);
    bench.seconds(24).await;
    assert_eq!(consul.maintenance().as_deref(), Some(OURS));
}

#[tokio::test]
async fn a_client_that_is_no_part_of_the_node_any_more_says_nothing_of_its_work() {
    let consul = Agent::start();
    *consul.maintenance.lock().expect("whole") = Some(OURS.to_owned());
    // The `nomad` block is gone since the client was drained.
    let bench = bench(&consul, None);
    bench.node.set_ready(THEN);
    bench.node.set_work(Work { eligible: false, drains: true, drained: true });
    assert!(bench.node.is_leaving() && bench.node.is_going());
    let _keeping = tokio::spawn(maintenance::keep(Arc::clone(&bench.node)));
    bench.seconds(2).await;
    assert_eq!(consul.maintenance(), None);
    assert!(!bench.node.is_leaving() && !bench.node.is_going());
}

#[tokio::test]
async fn a_consul_that_cannot_is_asked_again_at_once_where_work_is_to_go_elsewhere() {
    let consul = Agent::start();
    let bench = bench(&consul, None);
    bench.node.set_ready(THEN);
    let _keeping = tokio::spawn(maintenance::keep(Arc::clone(&bench.node)));
    bench.seconds(11).await;
    consul.fails.store(2, Ordering::Relaxed);
    bench.node.set_interrupted(true);
    bench.seconds(4).await;
    assert_eq!(consul.maintenance().as_deref(), Some(OURS));
}

fn report(bench: &Bench, condition: Condition) {
    bench.node.report(&Report { condition, steps: Vec::new() });
}

#[tokio::test]
async fn an_agent_that_is_started_again_on_a_node_from_which_work_is_kept_away_goes_on_for_what_is_there() {
    let (consul, work) = (Agent::start(), Arc::new(Mutex::new(drained())));
    let nomad = nomad(&work);
    let mut bench = bench(&consul, Some(&nomad));
    bench.lasting = 2;
    let (commands, _orders) = mpsc::channel(1);
    let _feeding = tokio::spawn(health::feed(Arc::clone(&bench.node), commands));
    let _keeping = tokio::spawn(maintenance::keep(Arc::clone(&bench.node)));
    bench.node.set_served(true);
    // It says nothing before it has looked: the node may be good.
    report(&bench, Condition::Running);
    bench.seconds(30).await;
    assert_eq!(consul.told(), None);
    report(&bench, Condition::Failed);
    bench.seconds(30).await;
    assert_eq!(
        consul.told().expect("it was told")["Status"],
        "warning",
        "a check that nobody feeds is critical"
    );
    assert_eq!(consul.maintenance().as_deref(), Some(OURS));
}

#[tokio::test]
async fn consul_hears_how_the_node_is_and_is_told_of_it_anew_where_it_forgot() {
    let consul = Agent::start();
    let bench = bench(&consul, None);
    let (commands, mut orders) = mpsc::channel(1);
    let feeding = tokio::spawn(health::feed(Arc::clone(&bench.node), commands));
    bench.seconds(60).await;
    assert_eq!(consul.told(), None, "a node that is not ready yet is nobody's");
    bench.node.set_ready(THEN);
    let failure = Failure::new(ErrorClass::Unclear, "x");
    let says = async |status: &str, words: &str| {
        health::say(&bench.node).await.expect("it answers");
        let told = consul.told().expect("it was told");
        assert_eq!(told["Status"], status, "{told}");
        assert!(told["Output"].as_str().is_some_and(|output| output.contains(words)), "{told}");
    };
    says("warning", "not ready yet").await;
    report(&bench, Condition::Done);
    says("passing", "everything stands").await;
    report(&bench, Condition::Degraded);
    says("passing", "degraded").await;
    report(&bench, Condition::Failed);
    says("warning", "a step has failed").await;
    bench.node.act(Step::Monitoring, OnFailure::Quarantine, &failure);
    says("warning", "a step has failed").await;
    bench.node.act(Step::Consul, OnFailure::Unhealthy, &failure);
    says("critical", "unhealthy").await;
    bench.node.recovered(Step::Consul);
    bench.node.recovered(Step::Monitoring);
    report(&bench, Condition::Done);
    says("passing", "everything stands").await;
    // What Consul has forgotten is registered, and said again.
    *consul.knows.lock().expect("whole") = false;
    let registered =
        || consul.server.asked().iter().filter(|asked| asked.path.contains("service/register")).count();
    bench.seconds(30).await;
    assert_eq!(registered(), 1);
    let asked = consul.server.asked();
    let at = asked.iter().position(|asked| asked.path.contains("service/register")).expect("it was");
    assert!(asked[at..].iter().any(|asked| asked.path.contains("check/update")), "and said once more");
    assert_eq!(consul.told().expect("it was told")["Status"], "passing");
    assert!(orders.try_recv().is_err(), "nothing else is lost");
    feeding.abort();
}

#[tokio::test]
async fn every_part_of_the_watch_does_its_own() {
    let leader = Process::start(Manner::Leads, DAY);
    let consul = Agent::start();
    let mut bench = Bench::new(|base| {
        let mut settings = ConsulSettings::default();
        settings.server.address = consul.server.address();
        base.consul = Some(settings);
        base.watch.autoscaler = Some(of(&[&leader]));
        base.watch.samples = Duration::from_secs(1);
    });
    // Each of its parts, and the whole.
    bench.lasting = 8;
    bench.node.set_ready(THEN);
    let (commands, _orders) = mpsc::channel(1);
    let (_say, consequences) = mpsc::unbounded_channel();
    let _watching = tokio::spawn(watch(Arc::clone(&bench.node), commands, consequences));
    bench.until("its token", || leader.identified() == 1).await;
    bench.seconds(40).await;
    bench.says(paths::INSTANCE_ACTION, 200, r#"{"action": "terminate", "time": "1970-01-12T13:55:00Z"}"#);
    bench.seconds(12).await;
    bench.until("the notice", || leader.notices().len() == 1).await;
    bench.until("load", || !leader.samples().is_empty()).await;
    bench.until("the state of the node", || consul.told().is_some()).await;
    bench.until("maintenance", || consul.maintenance().as_deref() == Some(OURS)).await;
}
