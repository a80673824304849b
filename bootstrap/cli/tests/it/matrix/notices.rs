//! The autoscaler, with everything that can go wrong on the way to it: an interruption that nobody confirms is acted upon, and
//! told when somebody listens again.

use super::sites::{INSTANCES, all, configure, usual};
use super::{Fault, Proxy, SIDE_BY_SIDE};
use crate::front::{Events, Scaler};
use crate::ground::{Cloud, Node, Program};
use muster_test_servers::wait_for;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

const LEAVES: &str = "terminate nomad.service";
/// What the autoscaler gives to who has proved itself.
const TOKEN: &str = "planted-token-of-autoscaler";

/// A node whose work is a program that leaves when it is told to, and the way to the autoscaler.
struct Site {
    node: Node,
    proxy: Proxy,
    scaler: Scaler,
}

impl Site {
    fn new(cloud: &Cloud, number: usize, fault: Option<Fault>) -> Self {
        let scaler = Scaler::start(&Events::default());
        let proxy = Proxy::start(scaler.at(), true, fault);
        let node = Node::new(cloud, number, "");
        let text = "host {\n  units = [\"nomad.service\"]\n  file \"nomad\" {\n    path = \"$PLACE/nomad.json\"\n  }\n  \
                    directory \"nomad\" {\n    path = \"$PLACE/nomad\"\n  }\n}\n\
                    nomad {\n  address = \"http://127.0.0.1:9\"\n  servers = [\"127.0.0.1:9\"]\n}\n\
                    watch {\n  autoscaler {\n    fleet = \"web\"\n    addresses = [\"PROXY\"]\n    \
                    ca_file = \"$PLACE/ca.pem\"\n  }\n}\n";
        configure(cloud, &node, &proxy, text);
        let arguments = vec!["600".to_owned()];
        let sleeps = Program { path: "/bin/sleep".into(), arguments, ..Program::default() };
        node.units.set("nomad.service", sleeps);
        Self { node, proxy, scaler }
    }

    fn left(&self) -> usize {
        self.node.units.done().iter().filter(|done| *done == LEAVES).count()
    }

    fn has_told(&self) -> bool {
        self.scaler.times("notices spot_interruption") > 0
    }
}

/// An interruption of a node while something goes wrong with the autoscaler: from the beginning on, or once it knew the node.
fn interrupted(cloud: &Cloud, number: usize, fault: Fault, known: bool) {
    let mut site = Site::new(cloud, number, (!known).then_some(fault));
    site.node.start();
    wait_for("a client", || {
        site.node.units.done().contains(&"restart nomad.service".to_owned()).then_some(())
    });
    if known {
        wait_for("the autoscaler to know this node", || (site.scaler.times("identify") > 0).then_some(()));
        site.proxy.set(Some(fault));
    }
    cloud.interrupt(&site.node.instance);
    wait_for("the client's end", || site.node.units.has_ended("nomad.service").then_some(()));
    assert!(!site.has_told(), "nobody could be told");
    let words = usual("the autoscaler", fault);
    let failed = || {
        let log = site.node.log();
        let mut told = log.lines().filter(|line| line.contains("could not tell the autoscaler"));
        told.find(|line| words.iter().all(|word| line.contains(word.as_str()))).map(str::to_owned)
    };
    wait_for(&format!("{words:?}"), failed);
    // Somebody listens again: it is told, and what was begun is not begun again.
    site.proxy.set(None);
    wait_for("the notice", || site.has_told().then_some(()));
    assert_eq!(site.left(), 1, "{:?}", site.node.units.done());
    super::super::secrets::must_lack(&super::super::secrets::in_sight(&site.node), &[TOKEN]);
}

#[test]
fn whatever_goes_wrong_with_the_autoscaler_a_node_that_is_interrupted_leaves_and_tells_it_later() {
    let faults = all(&[]);
    let all: Vec<(usize, (Fault, bool))> = [false, true]
        .into_iter()
        .flat_map(|known| faults.iter().map(move |fault| (*fault, known)))
        .enumerate()
        .collect();
    // Half of them, as there are two of each fault.
    let clouds = [Cloud::of(INSTANCES), Cloud::of(INSTANCES)];
    let left = Mutex::new(all);
    let next = || left.lock().expect("whole").pop();
    let failed: Vec<(Fault, bool)> = thread::scope(|scope| {
        let worker = || {
            let mut failed = Vec::new();
            while let Some((number, (fault, known))) = next() {
                let number = number % faults.len();
                let well = catch_unwind(AssertUnwindSafe(|| {
                    interrupted(&clouds[usize::from(known)], number, fault, known);
                }));
                failed.extend(well.is_err().then_some((fault, known)));
            }
            failed
        };
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it is caught")).collect()
    });
    assert!(failed.is_empty(), "what went otherwise: {failed:?}");
}
