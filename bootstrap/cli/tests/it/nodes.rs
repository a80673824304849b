//! What becomes of a node's work, and of its place in Consul and Nomad, where something else happens than a boot.

use crate::awx_server::{Awx, KEY, TOKEN};
use crate::front::Front;
use crate::ground::{Cloud, Node, Program, state_of};
use crate::services::{Site, eager, eager_for_all};
use bootstrap_agent::host::{Units as _, Verb};
use bootstrap_core::{Condition, State, Step};
use muster_test_servers::{request, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const QUICK_CONSUL: &str = "step \"consul\" {\n  attempt = \"4s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  \
                            deadline = \"5s\"\n}\n";
const NOBODY: &str =
    "watch {\n  autoscaler {\n    fleet = \"web\"\n    addresses = [\"http://127.0.0.1:9\"]\n  }\n}\n";
const ACTION: &str = "meta-data/spot/instance-action";

impl Site {
    /// The one allocation of a job, once it runs.
    fn running(&self, job: &str) -> Value {
        wait_for("work that runs", || {
            let rows = self.nomad.call("GET", &format!("/v1/job/{job}/allocations"), &Value::Null);
            rows.as_array()?.iter().find(|row| row["ClientStatus"] == "running").cloned()
        })
    }
    fn wait_pool(&self, pool: &str) -> Value {
        wait_for(&format!("the node in the pool {pool}"), || {
            self.nomad_node().filter(|node| node["NodePool"] == pool && node["Status"] == "ready")
        })
    }
    /// Asks the node's own Consul agent.
    pub fn own_consul(&self, method: &str, path: &str) -> Value {
        let token = self.consul.token().expect("a token").to_owned();
        let answer = request(self.consul_http, method, path, &[("X-Consul-Token", &token)], "");
        let answer = answer.expect("it answers");
        answer.must_be_success();
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }
    fn maintenance(&self) -> Option<String> {
        let checks = self.own_consul("GET", "/v1/agent/checks");
        checks["_node_maintenance"]["Notes"].as_str().map(str::to_owned)
    }
    /// The whole instance goes down: the agent, what it has started, and what is on tmpfs.
    pub fn power_cut(&mut self) {
        self.node.reboot();
        for unit in ["nomad.service", "consul.service", "prometheus-node-exporter.service"] {
            self.node.units.kill(unit);
        }
    }
    /// A metadata service that says what a test has it say. The agent asks it from its next start on.
    fn metadata(&self) -> Front {
        let cloud = self.cloud.server.addr();
        let imds = Front::start(cloud, &self.node.instance, Ipv4Addr::LOCALHOST.into());
        let path = self.node.path().join("bootstrap.hcl");
        let text = fs::read_to_string(&path).expect("it is there");
        let text = text.replace(&cloud.to_string(), &imds.at().to_string());
        fs::write(path, text).expect("written");
        imds
    }
    fn drain(&self, on: bool) {
        let nodes = self.nomad.call("GET", "/v1/nodes", &Value::Null);
        // The newest: one that drained itself may be there for as long as its heartbeats are waited for.
        let node =
            nodes.as_array().and_then(|nodes| nodes.iter().max_by_key(|node| node["CreateIndex"].as_u64()));
        let id = node.expect("a node")["ID"].as_str().expect("an id").to_owned();
        let strategy = if on { json!({"Deadline": 60_000_000_000_u64}) } else { Value::Null };
        let body = json!({"NodeID": id, "DrainSpec": strategy, "MarkEligible": !on});
        self.nomad.call("POST", &format!("/v1/node/{id}/drain"), &body);
    }
    pub fn did(&self, what: &str) -> usize {
        self.node.units.done().iter().filter(|done| *done == what).count()
    }
}

#[test]
fn a_node_that_was_down_is_proved_again_before_work_lands() {
    let mut site = Site::new("\"raw_exec\"", "");
    site.node.start();
    site.node.wait_done();
    site.power_cut();
    // Until its heartbeats are missed the servers place work on it; that is theirs to find out.
    wait_for("a node that is down", || site.nomad_node().filter(|node| node["Status"] == "down"));
    for job in [eager("eager"), eager_for_all("anywhere")] {
        site.nomad.register(&job);
    }
    // What the node was able to yesterday it is not today.
    site.configure("\"raw_exec\", \"docker\"", "");
    site.node.start();
    let looked = |site: &Site| {
        site.wait_pool("muster-proving");
        site.node.wait_state(Step::Nomad, State::Running);
        for job in ["eager", "anywhere"] {
            site.evaluate(job);
            assert_eq!(site.allocations(job), 0, "nothing lands on a node that is not proved again: {job}");
        }
    };
    looked(&site);
    // An agent that finds a client there which was never proved does not take it for one that was.
    site.node.kill();
    site.node.start();
    looked(&site);
    site.node.kill();
    site.configure("\"raw_exec\"", "");
    site.node.start();
    site.wait_done_and_watch(&["eager", "anywhere"]);
    site.running("eager");
    site.wait_pool("default");
    // Its place is its own as long as its client runs: the agent may come and go, and be told other things.
    site.node.kill();
    site.configure("\"raw_exec\"", "");
    let text = fs::read_to_string(site.node.path().join("bootstrap.hcl")).expect("it is there");
    let text = text.replace("\nnomad {\n", "\nnomad {\n  node_class = \"other\"\n");
    fs::write(site.node.path().join("bootstrap.hcl"), text).expect("written");
    site.node.start();
    let pid = site.node.pid();
    site.node.wait_until("a boot that is done", |status| {
        assert_ne!(site.nomad_node().expect("it is there")["NodePool"], "muster-proving");
        status.pid == pid && status.report.condition == Condition::Done
    });
    assert_eq!(site.nomad_node().expect("it is there")["NodeClass"], "other");
}

#[test]
fn a_check_that_somebody_takes_away_comes_back_and_nobody_spins() {
    let mut site = Site::new("\"raw_exec\"", "");
    site.node.start();
    site.node.wait_done();
    wait_for("a check that passes", || site.check_of_node().filter(|check| check == "passing"));
    let before = site.node.units.done().len();
    let id = &site.node.instance;
    site.own_consul("PUT", &format!("/v1/agent/check/deregister/muster-node-{id}:ready"));
    // It may be back before anybody has seen that it was gone.
    let mended = || site.node.log().matches("a registration had vanished").count();
    wait_for("it to be missed", || (mended() > 0).then_some(()));
    wait_for("the check", || site.check_of_node().filter(|check| check == "passing"));
    // The exporter's is not fed by anybody; it is looked for.
    let exporters = || {
        let checks = site.ask_consul("/v1/health/checks/prometheus-node-exporter");
        checks.as_array()?.first()?["Status"].as_str().map(str::to_owned)
    };
    wait_for("an exporter that Consul has found to answer", || {
        exporters().filter(|check| check == "passing")
    });
    site.own_consul("PUT", &format!("/v1/agent/check/deregister/prometheus-node-exporter-{id}:metrics"));
    let before_exporter = mended();
    site.node.verify();
    wait_for("it to be missed, too", || (mended() > before_exporter).then_some(()));
    wait_for("the exporter's check", || exporters().filter(|check| check == "passing"));
    assert_eq!(site.node.units.done().len(), before, "without a restart");
    // The feed and a look may both miss the first one.
    assert!(mended() <= 4, "nobody spins: {}", site.node.log());
}

#[test]
fn work_outlives_that_the_progress_of_nomads_step_is_lost() {
    let mut site = Site::new("\"raw_exec\"", "");
    site.node.start();
    site.node.wait_done();
    site.nomad.register(&eager("steady"));
    let (work, node) = (site.running("steady"), site.nomad_node().expect("it is there"));
    let progress = site.node.path().join("state").join(site.node.instance.as_str()).join("nomad.json");
    let stops = site.did("stop nomad.service");
    for damaged in [false, true] {
        site.node.kill();
        if damaged {
            fs::write(&progress, "{").expect("written");
        } else {
            let reset = site.node.command(&["reset", "nomad"]).output().expect("it runs");
            assert!(reset.status.success() && !progress.exists(), "{reset:?}");
        }
        site.node.start();
        site.node.wait_done();
        assert_eq!(site.did("stop nomad.service"), stops, "{:?}", site.node.units.done());
        assert_eq!(site.running("steady")["ID"], work["ID"], "it runs on");
        assert_eq!(site.nomad_node().expect("it is there")["ID"], node["ID"]);
    }
}

#[test]
fn a_client_that_was_down_when_the_node_was_withheld_comes_back_without_work() {
    let mut site = Site::new("\"raw_exec\"", QUICK_CONSUL);
    site.node.start();
    site.node.wait_done();
    let tried = site.did("try-restart nomad.service");
    site.node.units.kill("nomad.service");
    site.node.units.set("consul.service", Program { path: "/bin/false".into(), ..Program::default() });
    site.node.units.kill("consul.service");
    site.node.verify();
    site.node.wait_state(Step::Consul, State::Failed);
    wait_for("root to have been asked", || (site.did("try-restart nomad.service") > tried).then_some(()));
    // Somebody else starts it: systemd, or an operator. Until then the servers may take it for what it was.
    site.node.units.act(Verb::Start, "nomad.service").expect("it starts");
    site.wait_pool("muster-proving");
    site.nomad.register(&eager("eager"));
    site.evaluate("eager");
    assert_eq!(site.allocations("eager"), 0);
    site.prepare();
    site.node.wait_until("everything to stand", |status| status.report.condition == Condition::Done);
    site.running("eager");
}

#[test]
fn a_client_that_leaves_is_left_alone_whatever_fails_and_a_node_that_is_back_works_again() {
    let mut site = Site::new("\"raw_exec\"", &format!("{QUICK_CONSUL}{NOBODY}"));
    let imds = site.metadata();
    site.node.start();
    site.node.wait_done();
    // Its work takes its time to end.
    let mut job = eager("work");
    let task = &mut job["TaskGroups"][0]["Tasks"][0];
    task["Config"] = json!({"command": "/bin/sh", "args": ["-c", "trap 'sleep 8; exit 0' INT; while :; do sleep 0.1; done"]});
    task["KillTimeout"] = json!(20_000_000_000_u64);
    site.nomad.register(&job);
    site.running("work");
    // A slow boot may have had one.
    let tried = site.did("try-restart nomad.service");
    imds.says(ACTION, Some(r#"{"action": "hibernate", "time": "2017-09-18T08:22:00Z"}"#));
    wait_for("the client to leave", || (site.did("terminate nomad.service") == 1).then_some(()));
    let restarts = site.did("restart nomad.service");
    let left = site.node.path().join("run/left");
    wait_for("the next process to be told of it", || left.exists().then_some(()));
    site.node.units.set("consul.service", Program { path: "/bin/false".into(), ..Program::default() });
    site.node.units.kill("consul.service");
    site.node.verify();
    site.node.wait_state(Step::Consul, State::Failed);
    // Another process of the agent knows it, too.
    site.node.kill();
    site.node.start();
    wait_for("its work to end in order", || {
        let rows = site.nomad.call("GET", "/v1/job/work/allocations", &Value::Null);
        let rows = rows.as_array()?.clone();
        rows.iter().any(|row| row["ClientStatus"] == "complete").then_some(())
    });
    // A second signal would have cut its drain.
    let done = ["terminate", "restart", "try-restart"].map(|verb| site.did(&format!("{verb} nomad.service")));
    assert_eq!(done, [1, restarts, tried], "{:?}", site.node.units.done());
    // It wakes up: nothing is announced any more.
    site.prepare();
    imds.says(ACTION, None);
    site.node.wait_until("everything to stand", |status| {
        status.report.condition == Condition::Done && status.notices.is_empty()
    });
    wait_for("the end of the maintenance", || site.maintenance().is_none().then_some(()));
    wait_for("a node that may have work", || {
        let nodes = site.nomad.call("GET", "/v1/nodes", &Value::Null);
        let may = |node: &&Value| {
            node["Status"] == "ready"
                && node["SchedulingEligibility"] == "eligible"
                && node["NodePool"] == "default"
        };
        nodes.as_array()?.iter().find(may).cloned()
    });
    site.running("work");
}

#[test]
fn an_instance_that_was_stopped_and_started_is_no_more_in_maintenance() {
    let mut site = Site::new("\"raw_exec\"", NOBODY);
    let imds = site.metadata();
    site.node.start();
    site.node.wait_done();
    imds.says(ACTION, Some(r#"{"action": "stop", "time": "2017-09-18T08:22:00Z"}"#));
    wait_for("the client to leave", || (site.did("terminate nomad.service") == 1).then_some(()));
    wait_for("Consul's maintenance", || site.maintenance());
    site.power_cut();
    imds.says(ACTION, None);
    site.node.start();
    site.node.wait_done();
    wait_for("the end of the maintenance", || site.maintenance().is_none().then_some(()));
    site.nomad.register(&eager("eager"));
    site.running("eager");
    // What an operator says is not taken back.
    site.own_consul("PUT", "/v1/agent/maintenance?enable=true&reason=I+look+at+it");
    site.node.kill();
    site.node.start();
    site.node.wait_done();
    let said = |what: &str| site.node.log().matches(what).count();
    let (drains, stays) = ("eligible=false drains=true", "eligible=true drains=false");
    let before = (said(drains), said(stays));
    site.drain(true);
    wait_for("a drain that the agent knows of", || (said(drains) > before.0).then_some(()));
    site.drain(false);
    wait_for("its end", || (said(stays) > before.1).then_some(()));
    assert_eq!(site.maintenance().as_deref(), Some("I look at it"));
}

#[test]
fn a_drain_rests_drift_and_takes_the_node_out_of_consuls_answers_and_a_mere_recommendation_does_not() {
    let awx = Awx::start();
    awx.state().ends_as = "successful";
    let block = format!(
        "awx {{\n  address = \"{}\"\n  template = 7\n  key_file = \"$PLACE/key\"\n  token_file = \"$PLACE/api\"\n  \
         jitter = \"0s\"\n  drift = \"2s\"\n}}\n",
        awx.address()
    );
    let mut site = Site::new("\"raw_exec\"", &block);
    fs::write(site.node.path().join("key"), KEY).expect("written");
    fs::write(site.node.path().join("api"), TOKEN).expect("written");
    let imds = site.metadata();
    imds.says(
        "meta-data/events/recommendations/rebalance",
        Some(r#"{"noticeTime": "2030-01-01T00:00:00Z"}"#),
    );
    let event = r#"[{"NotBefore": "21 Jan 2030 09:00:43 GMT", "NotAfter": "21 Jan 2030 09:17:23 GMT",
        "Code": "system-reboot", "Description": "scheduled reboot", "EventId": "instance-event-0d59937288b749b32",
        "State": "active"}]"#;
    imds.says("meta-data/events/maintenance/scheduled", Some(event));
    site.node.start();
    site.node.wait_done();
    let jobs = || awx.state().jobs.len();
    let looks = |times: usize| {
        for _ in 0..times {
            let before = site.node.status().expect("a status").updated;
            site.node.verify();
            site.node.wait_until("a look", |status| status.updated > before);
        }
        jobs()
    };
    wait_for("both notices", || site.node.status().filter(|status| status.notices.len() == 2));
    let before = jobs();
    wait_for("drift", || (looks(1) >= before + 2).then_some(()));
    assert_eq!(site.maintenance(), None);
    // Nomad drains it, whoever asked for that.
    site.drain(true);
    wait_for("maintenance", || site.maintenance());
    let rests = looks(2);
    let since = site.node.status().expect("a status").updated;
    wait_for("thrice the time that drift takes", || {
        assert_eq!(looks(1), rests, "no job on a node that drains");
        (site.node.status()?.updated.since(since).as_secs() >= 6).then_some(())
    });
    site.drain(false);
    wait_for("the end of the maintenance", || site.maintenance().is_none().then_some(()));
    wait_for("drift", || (looks(1) > rests).then_some(()));
}

#[expect(clippy::disallowed_methods, reason = "that nothing happens takes its time")]
#[test]
fn an_agent_that_is_started_again_where_work_is_kept_away_goes_on_saying_so() {
    let quick = QUICK_CONSUL.replace("consul", "monitoring");
    let mut site =
        Site::new("\"raw_exec\"", &quick.replace("deadline", "on_failure = \"quarantine\"\n  deadline"));
    site.node.start();
    site.node.wait_done();
    let broken = Program { path: "/bin/false".into(), ..Program::default() };
    site.node.units.set("prometheus-node-exporter.service", broken);
    site.node.units.kill("prometheus-node-exporter.service");
    site.node.verify();
    site.node.wait_state(Step::Monitoring, State::Failed);
    wait_for("a warning", || site.check_of_node().filter(|check| check == "warning"));
    site.node.kill();
    site.node.start();
    let pid = site.node.pid();
    site.node.wait_until("it to have looked", |status| {
        status.pid == pid && status.report.condition == Condition::Failed
    });
    // Longer than the check lasts.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(14) {
        assert_ne!(site.check_of_node().as_deref(), Some("critical"), "the work that is there is there");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(site.check_of_node().as_deref(), Some("warning"));
}

#[test]
fn an_image_whose_units_start_by_themselves_is_none() {
    let cloud = Cloud::start();
    let text = "host {\n  units = [\"nomad.service\"]\n  file \"nomad\" {\n    path = \"/etc/nomad.json\"\n  }\n  \
                directory \"nomad\" {\n    path = \"/opt/nomad\"\n  }\n}\nnomad {\n  servers = [\"10.0.0.1:4647\"]\n}\n";
    let node = Node::new(&cloud, 0, text);
    let root = tempfile::tempdir().expect("a directory");
    let config = node.path().join("bootstrap.hcl");
    let inside = root.path().join(config.strip_prefix("/").expect("an absolute path"));
    fs::create_dir_all(inside.parent().expect("a directory")).expect("made");
    fs::copy(&config, &inside).expect("copied");
    // The test's own place is in a directory that is to be empty.
    let looked = || {
        let shown = root.path().display().to_string();
        let output = node.command(&["verify-image", "--root", &shown]).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(!looked().1.contains("nomad.service"), "{}", looked().1);
    let unit = root.path().join("etc/systemd/system/multi-user.target.wants/nomad.service");
    fs::create_dir_all(unit.parent().expect("a directory")).expect("made");
    fs::write(unit, "").expect("written");
    let (code, said) = looked();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("systemctl disable nomad.service"), "{said}");
}

#[expect(clippy::disallowed_methods, reason = "that nothing happens takes its time")]
#[test]
fn servers_that_are_away_cost_a_node_that_works_nothing() {
    let quick_nomad = QUICK_CONSUL.replace("consul", "nomad");
    let mut site = Site::new("\"raw_exec\"", &format!("{QUICK_CONSUL}{quick_nomad}"));
    site.node.start();
    site.node.wait_done();
    site.nomad.register(&eager("steady"));
    site.running("steady");
    let before = site.node.units.done().len();
    Arc::get_mut(&mut site.nomad).expect("nobody else has it").kill_server();
    Arc::get_mut(&mut site.consul).expect("nobody else has it").kill();
    // Far longer than either step has.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        site.node.verify();
        let status = site.node.wait_until("both to be told of", |status| {
            let told = |who: &str| status.alarms.iter().any(|alarm| alarm.starts_with(who));
            told("consul: ") && told("nomad: ")
        });
        for step in [Step::Consul, Step::Nomad, Step::Ready] {
            assert_eq!(state_of(&status, step), State::Done, "{status:#?}");
        }
    }
    assert_eq!(
        site.node.units.done().len(),
        before,
        "nothing is started again: {:?}",
        site.node.units.done()
    );
    Arc::get_mut(&mut site.nomad).expect("nobody else has it").start_server();
    Arc::get_mut(&mut site.consul).expect("nobody else has it").start_again();
    wait_for("no alarm", || {
        site.node.verify();
        site.node.status().filter(|status| status.alarms.is_empty())
    });
    site.running("steady");
    // A notice is acted upon as well, by the node's own client.
    Arc::get_mut(&mut site.nomad).expect("nobody else has it").kill_server();
    site.cloud.interrupt(&site.node.instance);
    wait_for("the client to leave", || (site.did("terminate nomad.service") == 1).then_some(()));
    wait_for("its end", || site.node.units.has_ended("nomad.service").then_some(()));
}
