//! Every service that a boot needs, with everything that can go wrong on the way to it.
//!
//! For each pair of a service and a fault, a boot begins while that lasts: it says of which service it is, and what, in
//! words; it goes no further, and shows no secret; and when the fault ends, it ends as a boot that nothing disturbed.

mod disk;
mod notices;
mod pace;
mod proxy;
mod roots;
mod sites;
mod tags;

use crate::ground::{Node, names, state_of, whole};
use bootstrap_agent::status::Status;
use bootstrap_core::{State, Step};
use muster_test_servers::wait_for;
use proxy::Fault;
pub use proxy::Proxy;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

/// Boots at once, of one service: each waits more than it computes.
const SIDE_BY_SIDE: usize = 5;

/// A service of a boot.
trait Service: Sync {
    /// The step that needs it.
    fn step(&self) -> Step;
    /// What can go wrong with it.
    fn faults(&self) -> Vec<Fault>;
    /// What an operator reads while it does, all of it.
    fn words(&self, fault: Fault) -> Vec<String>;
    /// A node of its own that has not booted, while this goes wrong.
    fn site(&self, number: usize, fault: Option<Fault>) -> Site;
}

/// What is looked at of a site.
type Look = Box<dyn Fn(&Node) -> Value>;

/// A node, and the way to the service.
struct Site {
    // In this order they end.
    node: Node,
    proxy: Proxy,
    /// Ends what goes wrong.
    mend: Box<dyn Fn(&Proxy)>,
    /// What nobody may see.
    secrets: Vec<String>,
    /// What came about outside of the node, once its boot has ended.
    outside: Look,
    /// The same while the fault lasts: nothing.
    beyond: Look,
}

impl Site {
    /// A site whose service is reached through a proxy, with nothing outside.
    fn new(node: Node, proxy: Proxy) -> Self {
        let mend = |proxy: &Proxy| proxy.set(None);
        let nothing = || -> Look { Box::new(|_| Value::Null) };
        let (secrets, outside, beyond) = (Vec::new(), nothing(), nothing());
        Self { node, proxy, mend: Box::new(mend), secrets, outside, beyond }
    }
}

/// Files, progress and names that a boot leaves, but for what is another one each time.
#[derive(Debug, PartialEq)]
struct Left {
    files: BTreeMap<String, String>,
    progress: BTreeMap<String, Value>,
    names: BTreeSet<String>,
    outside: Value,
}

/// A text without what differs from node to node: where it is, who it is, and its ports.
fn normal(site: &Site, text: &str) -> String {
    let node = &site.node;
    let text = text.replace(&node.path().display().to_string(), "PLACE");
    let mut text = text.replace(node.instance.as_str(), "INSTANCE");
    let kind = node.status().and_then(|status| status.who).and_then(|who| who.instance_type);
    for other in site.secrets.iter().chain(&kind) {
        text = text.replace(other, "(another one each time)");
    }
    let mut normal = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        // Ports of tests have five digits.
        let digits = part.chars().take_while(char::is_ascii_digit).count();
        normal.push_str(if digits == 5 { "PORT" } else { &part[..digits] });
        normal.push_str(&part[digits..]);
    }
    normal
}

fn left(site: &Site) -> Left {
    let node = &site.node;
    let place = node.path();
    let state = place.join("state").join(node.instance.as_str());
    let files = ["consul.json", "nomad.json", "node_exporter.env", "run/ready", "secret"].into_iter();
    let files = files.filter_map(|name| Some((name, fs::read_to_string(place.join(name)).ok()?)));
    let files = files.map(|(name, text)| (name.to_owned(), normal(site, &text))).collect();
    let progress = whole(&state).into_iter().map(|name| {
        let text = fs::read_to_string(state.join(&name)).expect("a line");
        let line: Value = serde_json::from_str(&text).expect("a line");
        // Since when it has been ready is another time, and what a job was asked for with, another place.
        let note = line["note"].as_str().filter(|_| name != "ready.json");
        let note = note.map(|note| note.split_once(" of ").map_or(note, |(what, _)| what));
        let said = json!({"phase": line["phase"], "note": note});
        (name, said)
    });
    let progress = progress.collect();
    let mut all = BTreeSet::new();
    for directory in ["", "run", "run/metrics", "run/host/requests", "state"] {
        let names = whole(&place.join(directory)).into_iter();
        all.extend(names.map(|name| format!("{directory}/{}", normal(site, &name))));
    }
    Left { files, progress, names: all, outside: (site.outside)(node) }
}

/// Everything that a step says of itself, as an operator reads it.
fn said(status: &Status, step: Step) -> String {
    let waits = status.waits.get(&step).cloned().unwrap_or_default();
    format!("{waits}\n{}", crate::ground::failure_of(status, step))
}

/// The steps that come after one, near and far.
fn after(step: Step) -> Vec<Step> {
    let mut after: Vec<Step> = Vec::new();
    for other in Step::ALL {
        if other.after().iter().any(|needed| *needed == step || after.contains(needed)) {
            after.push(other);
        }
    }
    after
}

/// Nothing that anybody can read holds a secret.
fn shows_no_secret(site: &Site, shown: &str) {
    let node = &site.node;
    let mut texts = vec![shown.to_owned(), node.log()];
    for name in ["run/status.json", "run/metrics/muster_bootstrap.prom"] {
        texts.extend(fs::read_to_string(node.path().join(name)));
    }
    let state = node.path().join("state").join(node.instance.as_str());
    texts.extend(names(&state).iter().filter_map(|name| fs::read_to_string(state.join(name)).ok()));
    for secret in &site.secrets {
        assert!(!texts.iter().any(|text| text.contains(secret.as_str())), "a secret is shown");
    }
}

/// One boot. * returns: what it left.
fn boot(service: &impl Service, number: usize, fault: Option<Fault>) -> Left {
    boot_after(service, number, fault, 0, &fault.map(|fault| service.words(fault)).unwrap_or_default())
}

/// The same, with a fault that begins after so many requests. * `words`: what an operator reads then.
fn boot_after(
    service: &impl Service,
    number: usize,
    fault: Option<Fault>,
    requests: usize,
    words: &[String],
) -> Left {
    let mut site = service.site(number, fault);
    site.proxy.spare(requests);
    let step = service.step();
    site.node.start();
    if fault.is_some() {
        let status = site.node.wait_until(&format!("{words:?}"), |status| {
            let said = said(status, step);
            words.iter().all(|word| said.contains(word.as_str()))
        });
        goes_no_further(&site, &status, step);
        if requests == 0 {
            assert_eq!((site.beyond)(&site.node), Value::Null, "nothing of it came about outside");
        }
        let shown = site.node.command(&["status"]).output().expect("it runs");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        shows_no_secret(&site, &shown);
        (site.mend)(&site.proxy);
    }
    let status = site.node.wait_done();
    assert!(status.waits.is_empty(), "nothing is waited for any more: {status:?}");
    wait_for("root to be done", || {
        names(&site.node.path().join("run/host/requests")).is_empty().then_some(())
    });
    shows_no_secret(&site, "");
    left(&site)
}

fn goes_no_further(site: &Site, status: &Status, step: Step) {
    let place = site.node.path();
    let of = |step: Step| status.report.steps.iter().find(|report| report.step == step).expect("a step");
    assert!(!matches!(of(step).state, State::Done | State::Skipped), "{status:?}");
    for later in after(step) {
        assert!(matches!(state_of(status, later), State::Waiting | State::Skipped), "{later}: {status:?}");
        assert_eq!(of(later).began, None, "{later} was begun: {status:?}");
    }
    assert!(status.ready.is_none() && !place.join("run/ready").exists(), "{status:?}");
}

/// Goes through all that can go wrong with a service.
fn every_fault_of(service: &impl Service) {
    let undisturbed = boot(service, 0, None);
    let faults = service.faults();
    let left: Mutex<Vec<(usize, Fault)>> =
        Mutex::new(faults.into_iter().enumerate().map(|(at, fault)| (at + 1, fault)).rev().collect());
    let next = || left.lock().expect("whole").pop();
    let failed: Vec<Fault> = thread::scope(|scope| {
        let worker = || {
            let mut failed = Vec::new();
            while let Some((number, fault)) = next() {
                let well = catch_unwind(AssertUnwindSafe(|| {
                    assert_eq!(boot(service, number, Some(fault)), undisturbed, "{fault:?}");
                }));
                failed.extend(well.is_err().then_some(fault));
            }
            failed
        };
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it is caught")).collect()
    });
    assert!(failed.is_empty(), "what went otherwise: {failed:?}");
}

#[test]
fn whatever_goes_wrong_with_the_metadata_service_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Metadata::start());
}

#[test]
fn whatever_goes_wrong_with_parameter_store_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Parameters::start());
}

#[test]
fn whatever_goes_wrong_with_parameter_store_by_tls_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Parameters::by_tls());
}

#[test]
fn whatever_goes_wrong_with_awx_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Callback::start());
}

#[test]
fn whatever_goes_wrong_with_the_jobs_of_awx_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Callback::with_token());
}

#[test]
fn whatever_goes_wrong_with_the_exporter_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Exporter::start());
}

#[test]
fn whatever_goes_wrong_with_vault_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Secrets::start());
}

#[test]
fn whatever_goes_wrong_with_a_vault_that_knows_nodes_by_aws_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Secrets::by_aws());
}

#[test]
fn whatever_goes_wrong_with_consul_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Catalogue::start());
}

#[test]
fn whatever_goes_wrong_with_nomad_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Cluster::start());
}

#[test]
fn whatever_goes_wrong_with_the_registry_is_told_waited_for_and_made_up_for() {
    every_fault_of(&sites::Images::start());
}

/// A service that was there, and is not where something has begun already.
fn later_faults_of(service: &impl Service, faults: &[(Fault, usize, &[&str])]) {
    let undisturbed = boot(service, 0, None);
    thread::scope(|scope| {
        for (number, (fault, requests, words)) in faults.iter().enumerate() {
            let undisturbed = &undisturbed;
            scope.spawn(move || {
                let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
                let left = boot_after(service, number + 1, Some(*fault), *requests, &words);
                assert_eq!(left, *undisturbed, "{fault:?} after {requests}");
            });
        }
    });
}

#[test]
fn what_goes_wrong_after_a_login_or_a_callback_is_told_and_made_up_for_as_well() {
    later_faults_of(
        &sites::Secrets::start(),
        &[
            (Fault::Says(500), 1, &["kv/web", "500"]),
            (Fault::Cut, 1, &["kv/web"]),
            (Fault::Hangs, 1, &["kv/web was not answered within"]),
        ],
    );
    later_faults_of(
        &sites::Callback::with_token(),
        &[
            (Fault::Says(500), 1, &["AWX", "500"]),
            (Fault::Garbage, 1, &["AWX", "took the request and gave no whole answer"]),
            (Fault::ComeBack(503, 1), 1, &["AWX", "503"]),
            (Fault::Says(403), 1, &["AWX answered 403", "the host config key is wrong"]),
        ],
    );
}

#[test]
fn what_goes_wrong_while_an_agent_joins_is_told_and_made_up_for_as_well() {
    later_faults_of(
        &sites::Catalogue::start(),
        &[
            (Fault::Says(500), 1, &["Consul", "500"]),
            (Fault::Cut, 2, &["Consul", "took the request and gave no whole answer"]),
            (Fault::Says(403), 3, &["Consul", "403"]),
        ],
    );
    later_faults_of(
        &sites::Cluster::start(),
        &[
            (Fault::Says(500), 1, &["Nomad", "500"]),
            (Fault::Page, 2, &["Nomad", "answered what is no such JSON"]),
            (Fault::Cut, 2, &["Nomad", "took the request and gave no whole answer"]),
        ],
    );
}
