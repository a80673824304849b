//! EC2, where the instance is tagged: whatever goes wrong with it is told, and takes no work from a node that is good.

use super::proxy::{Fault, Proxy};
use crate::ground::{Cloud, Node, state_of};
use bootstrap_core::{State, Step};
use std::fs;
use std::sync::Mutex;
use std::thread;

const TAG: &str = "muster:state";

fn tagged(cloud: &Cloud, node: &Node) -> Option<String> {
    let shown = cloud.world().shown_instances().into_iter().find(|shown| shown.id == node.instance);
    shown.expect("it runs").tags.get(TAG).cloned()
}

/// What is said of it, by whom EC2 is asked without AWS's SDK.
fn words(fault: Fault) -> String {
    let words = match fault {
        Fault::Refused => "Connection refused",
        Fault::Hangs | Fault::Trickles => "operation timed out",
        Fault::Cut => "end of file before message length reached",
        Fault::Garbage => "invalid HTTP",
        Fault::Page => "an answer with the status 200 that does not say it is so",
        Fault::Echoes => "status 400",
        Fault::Says(status) | Fault::ComeBack(status, _) => return format!("status {status}"),
        _ => unreachable!("it is asked by HTTP"),
    };
    words.to_owned()
}

fn through(cloud: &Cloud, number: usize, fault: Fault) {
    let proxy = Proxy::start(cloud.server.addr(), false, Some(fault));
    let more = format!("ready {{\n  tag = \"{TAG}\"\n  ec2_endpoint = \"{}\"\n}}\n", proxy.address());
    let mut node = Node::new(cloud, number, &more);
    node.start();
    let status = node.wait_done();
    let alarm = format!("this instance has no tag {TAG}: ");
    let told = status.alarms.iter().find(|told| told.starts_with(&alarm)).expect("an alarm");
    let word = words(fault);
    assert!(told.contains(&word), "{fault:?}: {word} is not in {told}");
    assert!(node.path().join("run/ready").exists(), "the node is good");
    assert_eq!(tagged(cloud, &node), None, "{fault:?}");
    let shown = [node.log(), fs::read_to_string(node.path().join("run/status.json")).expect("a status")];
    for secret in cloud.session_keys(&node.instance) {
        assert!(!shown.iter().any(|text| text.contains(&secret)), "{fault:?}: {secret} is shown");
    }
    proxy.set(None);
    node.verify();
    let status = node.wait_until("an end of the alarm", |status| status.alarms.is_empty());
    assert_eq!(state_of(&status, Step::Ready), State::Done);
    assert_eq!(tagged(cloud, &node).as_deref(), Some("ready"), "{fault:?}");
}

#[test]
fn whatever_goes_wrong_with_a_tag_is_an_alarm_until_it_is_given() {
    let faults: Vec<(usize, Fault)> = Fault::PLAIN.into_iter().enumerate().collect();
    let cloud = Cloud::of(u32::try_from(faults.len()).expect("few"));
    let left = Mutex::new(faults);
    let next = || left.lock().expect("whole").pop();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((number, fault)) = next() {
                    through(&cloud, number, fault);
                }
            });
        }
    });
}
