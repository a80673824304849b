//! What somebody changes on a node that works: their files come back, and nothing is started anew without need.

use crate::agents::{on_path, set_exporter, set_exporter_at};
use crate::ground::{Cloud, Node};
use crate::services::{Site, eager};
use bootstrap_agent::host::{Units as _, Verb};
use bootstrap_core::Condition;
use muster_test_servers::{port, request, wait_for};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

impl Site {
    fn file(&self, name: &str) -> PathBuf {
        self.node.path().join(name)
    }
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }
    /// Changes a configuration, as an operator does who means to help.
    fn edit(&self, name: &str, pointer: &str, key: &str, value: &Value) {
        let mut whole: Value = serde_json::from_str(&self.read(name)).expect("JSON");
        whole.pointer_mut(pointer).expect("it is there")[key] = value.clone();
        fs::write(self.file(name), whole.to_string()).expect("written");
    }
    /// The work of a job: where it has come to, and how often it was begun.
    fn work(&self, job: &str) -> Option<(String, usize)> {
        let rows = self.nomad.call("GET", &format!("/v1/job/{job}/allocations"), &Value::Null);
        let rows = rows.as_array()?;
        let row = rows.iter().find(|row| row["ClientStatus"] == "running")?;
        let restarts = row["TaskStates"]["sleep"]["Restarts"].as_u64();
        assert_eq!(restarts, Some(0), "{row:#}");
        Some((row["ID"].as_str()?.to_owned(), rows.len()))
    }
    /// Tells the agent something.
    fn signal(&self, signal: &str) {
        let told = Command::new("kill").args([signal, &self.node.pid().to_string()]).status();
        assert!(told.expect("kill").success(), "{signal}");
    }
    /// Waits until everything stands, with a file as it was.
    fn is_again(&self, name: &str, before: &str) {
        self.node.verify_until("the file as it was", || (self.read(name) == before).then_some(()));
        self.node.wait_until("everything to stand", |status| status.report.condition == Condition::Done);
    }
    fn meta(&self, key: &str) -> Value {
        let node = self.nomad_node().expect("it is there");
        let node = self.nomad.call(
            "GET",
            &format!("/v1/node/{}", node["ID"].as_str().expect("an id")),
            &Value::Null,
        );
        assert_eq!(node["NodePool"], "default");
        node["Meta"][key].clone()
    }
}

/// Looks until one was had of each file, so long after its agent was started that systemd can tell the two apart.
fn looked(node: &Node, files: &[&str]) {
    for file in files {
        let line = format!("a file is as it should be file=\"{file}\"");
        let seen = || node.log().matches(&line).count();
        let before = seen();
        wait_for("time to pass since it was started", || {
            let started = node.units.started_ago(file)?;
            (started.as_secs() >= 2).then_some(())
        });
        node.verify_until("a look at it", || (seen() > before).then_some(()));
    }
}

#[test]
fn files_that_somebody_changes_come_back_and_agents_that_have_not_read_them_are_left_alone() {
    let mut site = Site::new("\"raw_exec\"", "");
    site.node.start();
    site.node.wait_done();
    site.nomad.register(&eager("steady"));
    let work = wait_for("work that runs", || site.work("steady"));
    looked(&site.node, &["consul", "nomad", "node_exporter"]);
    let done = site.node.units.done();
    for name in ["consul.json", "nomad.json", "node_exporter.env"] {
        let before = site.read(name);
        fs::write(site.file(name), "{}").expect("written");
        site.is_again(name, &before);
        fs::remove_file(site.file(name)).expect("it is there");
        site.is_again(name, &before);
    }
    assert_eq!(site.node.units.done(), done, "nobody was started anew");

    // What somebody has started from another file is started again, in its place: its work runs on.
    // The agent holds still until that is done: a client that is not there when it looks is proved in the other pool first.
    let before = site.read("nomad.json");
    site.signal("-STOP");
    site.edit("nomad.json", "/client/meta", "edited", &json!("true"));
    site.node.units.act(Verb::Restart, "nomad.service").expect("it starts");
    wait_for("a client of somebody else's configuration", || (site.meta("edited") == "true").then_some(()));
    site.signal("-CONT");
    site.is_again("nomad.json", &before);
    wait_for("a client of ours", || site.meta("edited").is_null().then_some(()));
    assert_eq!(wait_for("work that runs", || site.work("steady")), work, "the same, and all the time");

    let before = site.read("consul.json");
    site.signal("-STOP");
    site.edit("consul.json", "/node_meta", "edited", &json!("true"));
    site.node.units.act(Verb::Restart, "consul.service").expect("it starts");
    let edited = || {
        let node = site.ask_consul(&format!("/v1/catalog/node/{}", site.node.instance));
        node["Node"]["Meta"]["edited"].clone()
    };
    wait_for("an agent of somebody else's configuration", || (edited() == "true").then_some(()));
    site.signal("-CONT");
    site.is_again("consul.json", &before);
    wait_for("an agent of ours", || edited().is_null().then_some(()));
    let restarts = |unit: &str| {
        let restart = format!("restart {unit}");
        site.node.units.done().iter().filter(|done| **done == restart).count()
            - done.iter().filter(|done| **done == restart).count()
    };
    let found = ["nomad.service", "consul.service", "prometheus-node-exporter.service"].map(restarts);
    // One each was the somebody's.
    assert_eq!(found, [2, 2, 0]);
}

#[test]
fn an_exporter_that_is_given_as_a_program_is_put_in_its_place_and_comes_back() {
    let (cloud, exporter) = (Cloud::start(), port());
    let given = on_path("prometheus-node-exporter", "prometheus-node-exporter");
    let bytes = fs::read(&given).expect("it is there");
    let sha256 = hex::encode(Sha256::digest(&bytes));
    let configuration = format!(
        "host {{\n  units = [\"prometheus-node-exporter.service\"]\n  file \"node_exporter\" {{\n    \
         path = \"$PLACE/node_exporter.env\"\n    mode = \"0644\"\n  }}\n  package \"exporter\" {{\n    \
         path = \"{}\"\n    program = \"$PLACE/bin/exporter\"\n    version = \"1.0\"\n    \
         sha256 = \"{sha256}\"\n  }}\n}}\nmonitoring {{\n  \
         package = \"exporter\"\n  address = \"http://{exporter}/metrics\"\n  \
         arguments = [\"--web.listen-address={exporter}\"]\n}}\n",
        given.display()
    );
    let mut node = Node::new(&cloud, 0, &configuration);
    let program = node.path().join("bin/exporter");
    set_exporter_at(&node, &program);
    node.start();
    node.wait_done();
    let restart = "restart prometheus-node-exporter.service";
    assert_eq!(node.units.done(), [restart]);
    assert!(fs::read(&program).expect("it is there") == bytes, "it is the one that was given");
    // What runs has the old file still: a program is not written to, but replaced.
    fs::remove_file(&program).expect("it is there");
    fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").expect("written");
    node.verify_until("the program that was meant", || {
        (fs::read(&program).is_ok_and(|there| there == bytes) && node.units.done().len() == 2).then_some(())
    });
    node.wait_done();
    assert_eq!(node.units.done(), [restart, restart]);
}

#[test]
fn an_exporter_of_another_program_or_other_arguments_is_replaced_by_the_one_that_was_meant() {
    let (cloud, exporter) = (Cloud::start(), port());
    let package = tempfile::NamedTempFile::with_suffix(".deb").expect("a file");
    fs::write(package.path(), "a package").expect("written");
    // The SHA-256 of "a package".
    let sha256 = "c0cd5ccfdb563a59366e33e73001b78fdb8cca5a6c48e2f90fffcde44b81f1f6";
    let configuration = format!(
        "host {{\n  units = [\"prometheus-node-exporter.service\"]\n  file \"node_exporter\" {{\n    \
         path = \"$PLACE/node_exporter.env\"\n    mode = \"0644\"\n  }}\n  package \"exporter\" {{\n    \
         path = \"{}\"\n    version = \"1.0\"\n    sha256 = \"{sha256}\"\n  }}\n}}\nmonitoring {{\n  \
         package = \"exporter\"\n  address = \"http://{exporter}/metrics\"\n  \
         arguments = [\"--web.listen-address={exporter}\"]\n}}\n",
        package.path().display()
    );
    let mut node = Node::new(&cloud, 0, &configuration);
    set_exporter(&node);
    node.start();
    node.wait_done();
    let name = package.path().file_name().and_then(|name| name.to_str()).expect("a name");
    let (install, restart) =
        (format!("install {name}"), "restart prometheus-node-exporter.service".to_owned());
    let once = [install, restart.clone()];
    assert_eq!(node.units.done(), once);
    // Somebody puts another program in its place.
    node.units.alter("/usr/bin/prometheus-node-exporter");
    let twice = [once.clone(), once].concat();
    node.verify_until("the program that was meant", || (node.units.done() == twice).then_some(()));
    node.wait_done();
    // Somebody has it tell less.
    let file = node.path().join("node_exporter.env");
    let before = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, before.replace("ARGS=\"", "ARGS=\"--no-collector.loadavg ")).expect("written");
    node.units.act(Verb::Restart, "prometheus-node-exporter.service").expect("it starts");
    let tells =
        || request(exporter, "GET", "/metrics", &[], "").ok().map(|shown| shown.body.contains("node_load1 "));
    wait_for("an exporter that tells less", || (tells() == Some(false)).then_some(()));
    node.verify_until("one that tells all", || (tells() == Some(true)).then_some(()));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), before);
    assert_eq!(node.units.done().len(), twice.len() + 2, "{:?}", node.units.done());
}
