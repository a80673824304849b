//! The whole boot against real Consul, Nomad and node_exporter, with access control and the rights that the docs ask for.

use crate::agents;
use crate::ground::{Cloud, Node, Program, state_of};
use bootstrap_agent::status::Status;
use bootstrap_core::{Condition, State, Step};
use muster_test_servers::{Consul, ConsulOptions, Nomad, NomadOptions, port, request, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

/// Servers, and a node that is to join them.
pub struct Site {
    // In this order they end.
    pub node: Node,
    pub nomad: Arc<Nomad>,
    pub consul: Arc<Consul>,
    /// The node's own agents.
    pub consul_http: SocketAddr,
    pub nomad_http: SocketAddr,
    pub exporter: SocketAddr,
    pub cloud: Arc<Cloud>,
}

/// What the agent of a node may do in Consul.
pub const CONSUL_RULES: &str = include_str!("../../../policies/consul.hcl");
/// What it may do in Nomad.
pub const NOMAD_RULES: &str = include_str!("../../../policies/nomad.hcl");

impl Site {
    /// Servers that run, and a node whose agent has not.
    ///
    /// * `drivers`: what Nomad's client must be able to.
    /// * `more`: more of the agent's configuration.
    pub fn new(drivers: &str, more: &str) -> Self {
        Self::begun(Cloud::start(), drivers, more)
    }

    /// With so many instances, of which this node is the first.
    pub fn with_instances(count: u32) -> Self {
        Self::begun(Cloud::of(count), "\"raw_exec\"", "")
    }

    fn begun(cloud: Cloud, drivers: &str, more: &str) -> Self {
        let cloud = Arc::new(cloud);
        let consul = Arc::new(Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() }));
        let nomad = Arc::new(Nomad::start(NomadOptions { acl: true, ..NomadOptions::default() }));
        Self::of(cloud, consul, nomad, 0, drivers, more)
    }

    /// Another node, of the same servers. * `number`: of its instance.
    pub fn beside(&self, number: usize, drivers: &str, more: &str) -> Self {
        let Self { cloud, consul, nomad, .. } = self;
        Self::of(Arc::clone(cloud), Arc::clone(consul), Arc::clone(nomad), number, drivers, more)
    }

    fn of(
        cloud: Arc<Cloud>,
        consul: Arc<Consul>,
        nomad: Arc<Nomad>,
        number: usize,
        drivers: &str,
        more: &str,
    ) -> Self {
        let (consul_http, nomad_http, exporter) = (port(), port(), port());
        let node = Node::new(&cloud, number, "");
        let site = Self { node, nomad, consul, consul_http, nomad_http, exporter, cloud };
        site.prepare();
        site.configure(drivers, more);
        site
    }

    pub fn configure(&self, drivers: &str, more: &str) {
        let Self { consul_http, nomad_http, exporter, .. } = self;
        let (join, servers) = (self.consul.gossip(), self.nomad.rpc());
        let escaped = |value: Value| json!(value.to_string()).to_string();
        let (consul_extra, nomad_extra) = (
            escaped(agents::consul_extra(*consul_http, self.consul.token())),
            escaped(agents::nomad_extra(*nomad_http)),
        );
        let text = format!(
            r#"
host {{
  units = ["consul.service", "nomad.service", "prometheus-node-exporter.service"]
  power_off = true
  file "consul" {{
    path = "$PLACE/consul.json"
  }}
  file "nomad" {{
    path = "$PLACE/nomad.json"
  }}
  file "node_exporter" {{
    path = "$PLACE/node_exporter.env"
    mode = "0644"
  }}
  directory "consul" {{
    path = "$PLACE/consul"
  }}
  directory "nomad" {{
    path = "$PLACE/nomad"
  }}
}}
monitoring {{
  address = "http://{exporter}/metrics"
  arguments = ["--web.listen-address={exporter}"]
}}
consul {{
  address = "http://{consul_http}"
  token_file = "$PLACE/consul-token"
  join = ["{join}"]
  extra = {consul_extra}
  ttl = "10s"
}}
nomad {{
  address = "http://{nomad_http}"
  token_file = "$PLACE/nomad-token"
  servers = ["{servers}"]
  drivers = [{drivers}]
  extra = {nomad_extra}
}}
{more}
"#
        );
        self.node.configure(&self.cloud.metadata(&self.node.instance), &text);
    }

    /// Tokens, and what the units run.
    pub fn prepare(&self) {
        let place = self.node.path().to_owned();
        let instance = self.node.instance.as_str();
        let token = self.consul.new_token(&CONSUL_RULES.replace("INSTANCE", instance));
        fs::write(place.join("consul-token"), token).expect("written");
        fs::write(place.join("nomad-token"), self.nomad.new_token(NOMAD_RULES)).expect("written");
        agents::set_units(&self.node);
    }

    pub fn ask_consul(&self, path: &str) -> Value {
        self.consul.call("GET", path, &Value::Null)
    }
    /// The node as Nomad's servers have it: one alone, however often its agent was killed.
    pub fn nomad_node(&self) -> Option<Value> {
        let nodes = self.nomad.call("GET", "/v1/nodes", &Value::Null);
        let mut ours = nodes.as_array()?.iter().filter(|node| node["Name"] == self.node.instance.as_str());
        let node = ours.next().cloned();
        assert!(ours.next().is_none(), "an instance is one node of Nomad: {nodes:#}");
        node
    }
    /// Has the servers look for a place for a job, and waits until they have looked.
    pub fn evaluate(&self, job: &str) {
        let begun = self.nomad.call("POST", &format!("/v1/job/{job}/evaluate"), &json!({"JobID": job}));
        let path = format!("/v1/evaluation/{}", begun["EvalID"].as_str().expect("an id"));
        wait_for("an evaluation to end", || {
            let seen = self.nomad.call("GET", &path, &Value::Null);
            (seen["Status"] == "complete").then_some(())
        });
    }
    /// Waits until the boot is done, and sees that no work lands before the node is in its pool.
    pub fn wait_done_and_watch(&self, jobs: &[&str]) -> Status {
        let pid = self.node.pid();
        self.node.wait_until("a boot that is done", |status| {
            // In this order: work that lands in between finds the node in its pool.
            let landed = jobs.iter().any(|job| self.allocations(job) > 0);
            let works = self.nomad_node().is_some_and(|node| node["NodePool"] == "default");
            assert!(works || !landed, "work landed on a node that was not proved");
            status.pid == pid && status.report.condition == Condition::Done
        })
    }
    pub fn allocations(&self, job: &str) -> usize {
        let allocations = self.nomad.call("GET", &format!("/v1/job/{job}/allocations"), &Value::Null);
        allocations.as_array().map_or(0, Vec::len)
    }
    pub fn check_of_node(&self) -> Option<String> {
        let checks = self.ask_consul("/v1/health/checks/muster-node");
        checks.as_array()?.first()?["Status"].as_str().map(str::to_owned)
    }
}

/// A job that goes wherever it may.
pub fn eager(name: &str) -> Value {
    json!({
        "ID": name, "Name": name, "Type": "service", "Datacenters": ["dc1"], "NodePool": "default",
        "TaskGroups": [{
            "Name": "work", "Count": 1,
            "Tasks": [{
                "Name": "sleep", "Driver": "raw_exec", "Config": {"command": "/bin/sleep", "args": ["3600"]},
                "Resources": {"CPU": 50, "MemoryMB": 16},
            }],
        }],
    })
}

/// One that goes to any pool of nodes, the one where no job is placed among them.
pub fn eager_for_all(name: &str) -> Value {
    let mut job = eager(name);
    job["NodePool"] = json!("all");
    job
}

#[test]
fn a_node_is_watched_joined_proved_and_only_then_given_work() {
    let mut site = Site::new("\"raw_exec\", \"docker\"", "");
    for job in [eager("eager"), eager_for_all("anywhere")] {
        site.nomad.register(&job);
    }
    site.node.start();
    // A driver is missing: it is never proved, and the job that waits for a node does not land.
    let seen = wait_for("the node in the pool where no job is placed", || {
        site.nomad_node().filter(|node| node["Status"] == "ready")
    });
    assert_eq!(
        (seen["NodePool"].as_str(), seen["SchedulingEligibility"].as_str()),
        (Some("muster-proving"), Some("eligible"))
    );
    let status = site.node.wait_state(Step::Nomad, State::Running);
    assert_eq!(state_of(&status, Step::Consul), State::Done);
    assert_eq!(state_of(&status, Step::Monitoring), State::Done);
    assert_eq!(
        site.check_of_node().as_deref(),
        Some("critical"),
        "Consul has the node, and does not call it good"
    );
    for job in ["eager", "anywhere"] {
        site.evaluate(job);
        assert_eq!(site.allocations(job), 0, "nothing lands on a node that is not proved: {job}");
    }
    // It needs no such driver after all.
    site.configure("\"raw_exec\"", "");
    site.node.kill();
    site.node.start();
    let status = site.wait_done_and_watch(&["eager", "anywhere"]);
    for job in ["eager", "anywhere"] {
        wait_for("work to land once it is proved", || (site.allocations(job) == 1).then_some(()));
    }
    // A call of the client that was in the other pool may be served late; then that is mended.
    let node =
        wait_for("the node in its pool", || site.nomad_node().filter(|node| node["NodePool"] == "default"));
    let whole =
        site.nomad.call("GET", &format!("/v1/node/{}", node["ID"].as_str().expect("an id")), &Value::Null);
    let who = status.who.clone().expect("it is proved");
    let meta = |name: &str| whole["Meta"][name].as_str().map(str::to_owned);
    assert_eq!(meta("muster_ready").as_deref(), Some("true"));
    assert_eq!((meta("muster_image"), meta("muster_lifecycle")), (who.image, who.life_cycle));
    assert_eq!(meta("muster_pool").as_deref(), Some("default"));
    assert!(meta("muster_image").is_some_and(|image| image.starts_with("ami-")), "{}", whole["Meta"]);
    assert_eq!(meta("muster_lifecycle").as_deref(), Some("spot"));
    wait_for("Consul to call it good", || site.check_of_node().filter(|check| check == "passing"));
    let exporters = site.ask_consul("/v1/catalog/service/prometheus-node-exporter");
    assert_eq!(exporters[0]["ServicePort"], site.exporter.port());
    assert_eq!(exporters[0]["ServiceMeta"]["instance_id"], site.node.instance.as_str());
    assert!(status.ready.is_some());
    // What the agent tells of itself is among what the exporter shows.
    let shown = wait_for("the agent's own metrics", || {
        let shown = request(site.exporter, "GET", "/metrics", &[], "").ok()?.body;
        shown.contains("muster_bootstrap_ready 1").then_some(shown)
    });
    assert!(shown.contains("muster_bootstrap_step_state{state=\"done\",step=\"nomad\"} 1"), "{shown}");
    // The same agent again finds everything as it is.
    let before = site.node.units.done().len();
    site.node.kill();
    site.node.start();
    site.node.wait_done();
    assert_eq!(site.node.units.done().len(), before, "nothing was done again: {:?}", site.node.units.done());
}

#[test]
fn what_decays_is_mended_and_what_runs_runs_on() {
    let mut site = Site::new("\"raw_exec\"", "");
    site.node.start();
    site.node.wait_done();
    site.nomad.register(&eager("steady"));
    let allocation = wait_for("work that runs", || {
        let rows = site.nomad.call("GET", "/v1/job/steady/allocations", &Value::Null);
        let row = rows.as_array()?.iter().find(|row| row["ClientStatus"] == "running")?;
        row["ID"].as_str().map(str::to_owned)
    });
    // A registration that somebody takes away comes back by itself, without a restart.
    let before = site.node.units.done().len();
    let id = format!("muster-node-{}", site.node.instance);
    let token = site.consul.token().expect("a token").to_owned();
    let path = format!("/v1/agent/service/deregister/{id}");
    let gone =
        request(site.consul_http, "PUT", &path, &[("X-Consul-Token", &token)], "").expect("it answers");
    gone.must_be_success();
    // By the node's own agent: the servers may not have heard yet that it was gone.
    let path = format!("/v1/agent/health/service/id/{id}");
    wait_for("the registration", || {
        let answer = request(site.consul_http, "GET", &path, &[("X-Consul-Token", &token)], "").ok()?;
        (answer.status == 200).then_some(())
    });
    wait_for("Consul to call it good", || site.check_of_node().filter(|check| check == "passing"));
    assert_eq!(site.node.units.done().len(), before);
    // An exporter that died is started.
    site.node.units.kill("prometheus-node-exporter.service");
    site.node.verify();
    wait_for("the exporter", || request(site.exporter, "GET", "/metrics", &[], "").ok());
    // A client of Nomad that died is started in the pool that it works in, and its work was not touched.
    site.node.units.kill("nomad.service");
    site.node.verify();
    wait_for("Nomad's client", || request(site.nomad_http, "GET", "/v1/agent/health", &[], "").ok());
    site.node.wait_until("everything to stand", |status| status.report.condition == Condition::Done);
    let rows = site.nomad.call("GET", "/v1/job/steady/allocations", &Value::Null);
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
    assert_eq!(rows[0]["ID"], allocation.as_str());
    // It was down, so it was proved again first.
    wait_for("the node in its pool", || site.nomad_node().filter(|node| node["NodePool"] == "default"));
}

#[test]
fn an_image_that_was_made_of_a_node_that_ran_does_not_pose_as_it() {
    let mut site = Site::new("\"raw_exec\"", "");
    site.node.start();
    site.node.wait_done();
    let first = site.nomad_node().expect("it is there");
    let place = site.node.path().to_owned();
    site.node.kill();
    site.node.units.kill("nomad.service");
    site.node.units.kill("consul.service");
    // The disk is that of the first instance, the instance is another one.
    let second = site.cloud.instance(1);
    let text = fs::read_to_string(place.join("bootstrap.hcl")).expect("it is there");
    let text = text.replace(site.node.instance.as_str(), second.as_str());
    fs::write(place.join("bootstrap.hcl"), text).expect("written");
    site.node.instance = second.clone();
    site.prepare();
    site.node.reboot();
    site.node.start();
    site.node.wait_done();
    let node = site.nomad_node().expect("it is there");
    assert_ne!(node["ID"], first["ID"], "it has an id of its own");
    let members = site.ask_consul("/v1/catalog/nodes");
    let find =
        |name: &str| members.as_array().expect("a list").iter().find(|node| node["Node"] == name).cloned();
    let (old, new) = (first["Name"].as_str().expect("a name"), second.as_str());
    let ids = (find(old).map(|node| node["ID"].clone()), find(new).map(|node| node["ID"].clone()));
    assert!(ids.1.is_some() && ids.0 != ids.1, "{ids:?}");
}

#[test]
fn a_step_that_fails_after_the_boot_keeps_new_work_away_and_gives_it_back() {
    let quick = "step \"consul\" {\n  attempt = \"4s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"5s\"\n}\n";
    let mut site = Site::new("\"raw_exec\"", quick);
    site.node.start();
    site.node.wait_done();
    // Consul's agent cannot be started any more.
    let broken = Program { path: "/bin/false".into(), ..Program::default() };
    site.node.units.set("consul.service", broken);
    site.node.units.kill("consul.service");
    site.node.verify();
    site.node.wait_state(Step::Consul, State::Failed);
    wait_for("the node in the pool where no job is placed", || {
        site.nomad_node().filter(|node| node["NodePool"] == "muster-proving" && node["Status"] == "ready")
    });
    assert!(!site.node.path().join("run/ready").exists());
    site.nomad.register(&eager_for_all("anywhere"));
    site.evaluate("anywhere");
    assert_eq!(site.allocations("anywhere"), 0, "nor does what names all pools");
    // Somebody mends it.
    site.prepare();
    site.node.wait_until("everything to stand", |status| status.report.condition == Condition::Done);
    wait_for("the node in its pool", || {
        site.nomad_node().filter(|node| node["NodePool"] == "default" && node["Status"] == "ready")
    });
    wait_for("it to have work again", || (site.allocations("anywhere") == 1).then_some(()));
    wait_for("the mark of readiness", || site.node.path().join("run/ready").exists().then_some(()));
}

#[test]
fn nodes_of_an_image_may_end_themselves_until_the_breaker_is_open() {
    let more = "step \"nomad\" {\n  attempt = \"3s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"4s\"\n  \
                on_failure = \"terminate\"\n}\nwatch {\n  breaker = 1\n}\n";
    let mut site = Site::new("\"docker\"", more);
    site.node.start();
    wait_for("the instance to end itself", || {
        site.node.units.done().contains(&"power off".to_owned()).then_some(())
    });
    let key = format!("/v1/kv/muster-bootstrap/breaker/{}?raw", image_of(&site));
    let held = site.ask_consul(&key);
    assert_eq!(held, json!({"ended": [site.node.instance.as_str()]}));
    // Another one of the image has come before.
    site.node.kill();
    let other = json!({"ended": ["i-0123456789abcdef0"]});
    site.consul.call("PUT", &key.replace("?raw", ""), &other);
    site.node.start();
    let pid = site.node.pid();
    let status = site
        .node
        .wait_until("a breaker that is open", |status| status.pid == pid && !status.alarms.is_empty());
    assert!(
        status.alarms[0].contains("1 nodes of this image have ended themselves in a row"),
        "{:?}",
        status.alarms
    );
    assert!(status.alarms[0].contains("has no driver docker"), "{:?}", status.alarms);
    assert_eq!(site.node.units.done().iter().filter(|done| *done == "power off").count(), 1, "it stays up");
}

#[test]
fn a_node_whose_interruption_nobody_hears_of_leaves_by_itself_and_drains_its_work() {
    let more =
        "watch {\n  autoscaler {\n    fleet = \"web\"\n    addresses = [\"http://127.0.0.1:9\"]\n  }\n}\n";
    let mut site = Site::new("\"raw_exec\"", more);
    site.node.start();
    site.node.wait_done();
    site.nomad.register(&eager("work"));
    wait_for("work that runs", || {
        let rows = site.nomad.call("GET", "/v1/job/work/allocations", &Value::Null);
        (rows[0]["ClientStatus"] == "running").then_some(())
    });
    site.cloud.interrupt(&site.node.instance);
    let status = site.node.wait_until("the notice", |status| !status.notices.is_empty());
    assert!(status.notices[0].starts_with("interruption at "), "{status:?}");
    let left = "terminate nomad.service".to_owned();
    wait_for("the client to leave", || site.node.units.done().contains(&left).then_some(()));
    wait_for("its work to end in order", || {
        let rows = site.nomad.call("GET", "/v1/job/work/allocations", &Value::Null);
        let row = rows.as_array()?.iter().find(|row| row["NodeName"] == site.node.instance.as_str())?.clone();
        (row["ClientStatus"] == "complete").then_some(())
    });
    wait_for("the node to be ineligible", || {
        site.nomad_node().filter(|node| node["SchedulingEligibility"] == "ineligible")
    });
    wait_for("Consul's maintenance", || {
        let checks = site.ask_consul(&format!("/v1/health/node/{}", site.node.instance));
        checks.as_array()?.iter().any(|check| check["CheckID"] == "_node_maintenance").then_some(())
    });
    // Nobody starts it again, however often it is looked at.
    site.node.verify();
    let before = site.node.status().expect("a status").updated;
    site.node.wait_until("another look", |status| {
        status.updated > before && status.report.condition == Condition::Done
    });
    assert_eq!(site.node.units.done().last(), Some(&left), "{:?}", site.node.units.done());
}

fn image_of(site: &Site) -> String {
    site.node.status().and_then(|status| status.who).and_then(|who| who.image).expect("an image")
}
