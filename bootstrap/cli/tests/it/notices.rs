//! Notices: told at once, whatever else hangs or is gone, and acted upon until it is done.

use crate::front::{Does, Events, Front, Scaler};
use crate::ground::{Cloud, Node, Program};
use muster_test_servers::{Consul, ConsulOptions, wait_for};
use serde_json::json;
use std::fs;
use std::net::Ipv4Addr;

#[test]
fn an_interruption_is_told_the_moment_it_was_read_though_nothing_else_can_be() {
    let cloud = Cloud::start();
    let mut node = Node::new(&cloud, 0, "");
    let front = Front::start(cloud.server.addr(), &node.instance, Ipv4Addr::LOCALHOST.into());
    let scaler = Scaler::start(&front.events());
    front.does(&[("recommendations", Does::Hangs), ("maintenance", Does::Hangs)]);
    let more = format!(
        "watch {{\n  autoscaler {{\n    fleet = \"web\"\n    addresses = [\"{}\"]\n  }}\n}}\n",
        scaler.address()
    );
    node.configure(&front.address(), &more);
    node.start();
    node.wait_done();
    let tokens = || front.asked().iter().filter(|event| event.starts_with("PUT")).count();
    let before = tokens();
    cloud.interrupt(&node.instance);
    wait_for("the notice", || scaler.told().iter().any(|told| told.starts_with("notices")).then_some(()));
    let events = front.asked();
    // Either document: the cloud may have said it between the two.
    let read = events
        .iter()
        .position(|event| event.starts_with("answered /latest/meta-data/spot/") && event.ends_with(" 200"));
    let told = events.iter().position(|event| event.starts_with("notices spot_interruption"));
    let (read, told) = read.zip(told).unwrap_or_else(|| panic!("{events:#?}"));
    // Each of the two that hang is given up after its time: both of them in between would be all of that time lost.
    let waited = events[read..told].iter().filter(|event| event.starts_with("gave up")).count();
    assert!(waited < 2, "{:#?}", &events[read..=told]);
    assert_eq!(tokens(), before, "what hangs says nothing against the token of what does not");
}

#[test]
fn a_notice_reaches_the_autoscaler_though_consul_is_gone_by_then() {
    let cloud = Cloud::start();
    let consul = Consul::start(&ConsulOptions::default());
    let scaler = Scaler::start(&Events::default());
    let service = json!({
        "ID": "scaler", "Name": "muster-autoscaler", "Tags": ["http"], "Address": "127.0.0.1", "Port": scaler.at().port(),
    });
    let registered = consul.try_call("PUT", "/v1/agent/service/register", &service.to_string());
    registered.expect("it answers").must_be_success();
    // The agent never gets as far as to be ready: its own Consul agent cannot be started.
    let more = format!(
        "host {{\n  units = [\"consul.service\"]\n  file \"consul\" {{\n    path = \"$PLACE/consul.json\"\n  }}\n  \
         directory \"consul\" {{\n    path = \"$PLACE/consul\"\n  }}\n}}\nconsul {{\n  address = \"{}\"\n}}\n\
         watch {{\n  autoscaler {{\n    fleet = \"web\"\n    service = \"muster-autoscaler\"\n  }}\n}}\n",
        consul.address()
    );
    let mut node = Node::new(&cloud, 0, &more);
    node.start();
    wait_for("the autoscaler to know this node", || {
        scaler.told().contains(&"identify".to_owned()).then_some(())
    });
    drop(consul);
    cloud.interrupt(&node.instance);
    wait_for("the notice", || scaler.told().contains(&"notices spot_interruption".to_owned()).then_some(()));
}

#[test]
fn load_that_only_a_standby_took_is_sent_again_to_who_lacks_it() {
    let cloud = Cloud::start();
    let standby = Scaler::which(&Events::default(), false, 0);
    let leader = Scaler::which(&Events::default(), true, 1);
    let more = format!(
        "watch {{\n  samples = \"1s\"\n  autoscaler {{\n    fleet = \"web\"\n    addresses = [\"{}\", \"{}\"]\n  }}\n}}\n",
        standby.address(),
        leader.address()
    );
    let mut node = Node::new(&cloud, 0, &more);
    node.start();
    // The leader has no time for the first batch, and takes it then.
    wait_for("another batch", || (leader.times("samples 1") > 0).then_some(()));
    assert_eq!(leader.times("samples 0"), 2, "{:?}", leader.told());
    assert_eq!(standby.times("samples 0"), 1, "it has it: {:?}", standby.told());
    wait_for("the third batch", || (standby.times("samples 2") > 0).then_some(()));
    assert_eq!(leader.times("samples 1"), 1, "{:?}", leader.told());
}

#[test]
fn a_client_that_is_to_leave_is_asked_until_it_was_done() {
    let cloud = Cloud::start();
    let more = "host {\n  units = [\"nomad.service\"]\n  file \"nomad\" {\n    path = \"$PLACE/nomad.json\"\n  }\n  \
                directory \"nomad\" {\n    path = \"$PLACE/nomad\"\n  }\n}\n\
                nomad {\n  address = \"http://127.0.0.1:9\"\n  servers = [\"127.0.0.1:9\"]\n}\n";
    let mut node = Node::new(&cloud, 0, more);
    let arguments = vec!["600".to_owned()];
    node.units.set("nomad.service", Program { path: "/bin/sleep".into(), arguments, ..Program::default() });
    node.units.fail("terminate nomad.service", 2);
    node.start();
    wait_for("a client", || node.units.done().contains(&"restart nomad.service".to_owned()).then_some(()));
    cloud.interrupt(&node.instance);
    // Nobody confirms: it leaves by itself, and whoever is to do it cannot at first.
    wait_for("the client's end", || node.units.has_ended("nomad.service").then_some(()));
    let asked = node.units.done().iter().filter(|done| *done == "terminate nomad.service").count();
    assert_eq!(asked, 3, "{:?}", node.units.done());
    fs::metadata(node.path().join("nomad.json")).expect("it was configured");
}
