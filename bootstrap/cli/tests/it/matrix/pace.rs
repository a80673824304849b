//! A server that is overloaded, or fails, is left alone: as long as it asks for, and longer each time.

use super::{Fault, Service, Site, said, sites};
use crate::ground::{Node, state_of};
use bootstrap_core::{State, Step};
use muster_test_servers::wait_for;
use std::time::Duration;

/// So many times between requests, from the first one on. A machine that is slow only makes them longer.
fn gaps(site: &Site, count: usize) -> Vec<Duration> {
    let asked = wait_for("requests", || Some(site.proxy.asked()).filter(|asked| asked.len() > count));
    asked.windows(2).take(count).map(|pair| pair[1].saturating_sub(pair[0])).collect()
}

fn asked_in_time(service: &impl Service) {
    let mut site = service.site(0, Some(Fault::ComeBack(429, 2)));
    site.node.start();
    let between = gaps(&site, 3);
    // Vault's keeper counts from when it asked, the steps from when they were answered.
    let least = if service.step() == Step::Vault { 1 } else { 2 };
    assert!(between.iter().all(|gap| *gap >= Duration::from_secs(least)), "{between:?}");
}

#[test]
fn a_step_that_waits_asks_no_sooner_than_it_was_told_to() {
    asked_in_time(&sites::Exporter::start());
    asked_in_time(&sites::Catalogue::start());
    asked_in_time(&sites::Cluster::start());
    asked_in_time(&sites::Secrets::start());
}

#[test]
fn a_job_that_cannot_be_seen_is_looked_at_no_sooner_than_awx_says() {
    let service = sites::Callback::running();
    let mut site = service.site(0, None);
    site.node.start();
    let note = |node: &Node| {
        let path = node.path().join("state").join(node.instance.as_str()).join("awx.json");
        std::fs::read_to_string(path).ok().filter(|text| text.contains("job 1"))
    };
    wait_for("a job", || note(&site.node));
    site.proxy.set(Some(Fault::ComeBack(503, 5)));
    let status = site.node.wait_until("what is waited for", |status| said(status, Step::Awx).contains("503"));
    assert_eq!(state_of(&status, Step::Awx), State::Running, "a job does not end because nobody sees it");
    // One that was under way when it began to refuse may have been answered: the last one was not.
    let last = site.proxy.asked().len() - 1;
    let asked = wait_for("requests", || Some(site.proxy.asked()).filter(|asked| asked.len() > last + 1));
    let gap = asked[last + 1].saturating_sub(asked[last]);
    assert!(gap >= Duration::from_secs(5), "{gap:?}");
}

#[test]
fn a_server_that_fails_is_asked_less_and_less() {
    let service = sites::Exporter::start();
    let mut site = service.site(0, Some(Fault::Says(500)));
    site.node.start();
    // A half of each pause is chance.
    let least = [200, 400, 800, 1600].map(Duration::from_millis);
    let between = gaps(&site, least.len());
    assert!(between.iter().zip(least).all(|(gap, least)| *gap >= least), "{between:?}");
}

#[test]
fn who_asks_for_more_time_than_a_step_has_is_not_asked_again_by_it() {
    let service = sites::Catalogue::start();
    let mut site = service.site(0, Some(Fault::ComeBack(429, 600)));
    site.node.start();
    let status = site.node.wait_state(Step::Consul, State::Retrying);
    assert!(said(&status, Step::Consul).contains("429"), "{status:?}");
    assert_eq!(site.proxy.asked().len(), 1);
}
