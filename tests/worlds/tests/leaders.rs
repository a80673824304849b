//! The judge of the worlds notices two leaders who both believe: with the fence taken away it complains.

use fleet_sim::Demand;
use muster_worlds::cluster::Cluster;
use muster_worlds::fate::{Fate, cluster, live};
use muster_worlds::harness::{fleet, minutes, secs, world};
use std::time::Duration;

/// So many worlds by seed.
const SEEDS: std::ops::Range<u64> = 0..8;

/// What is complained of in a world in which nothing else goes wrong, with what one does to its standby.
fn complaints(seed: u64, spoil: impl Fn(&mut Cluster)) -> Vec<String> {
    let fate = Fate { troubles: Vec::new(), replays: false, ..Fate::of(seed) };
    let mut cluster = cluster(&fate);
    spoil(&mut cluster);
    live(&fate, &mut cluster).complaints
}

fn fence(complaints: &[String]) -> bool {
    complaints.iter().any(|complaint| complaint.contains("FENCE"))
}

#[test]
fn a_standby_that_believes_that_it_leads_and_asks_no_fence_is_found_in_every_world() {
    for seed in SEEDS {
        let found = complaints(seed, |cluster| {
            (cluster.processes[1].believes, cluster.processes[1].unfenced) = (true, true);
        });
        assert!(fence(&found), "seed {seed}: {found:?}");
    }
}

#[test]
fn either_of_the_two_guards_keeps_a_standby_from_writing() {
    for seed in SEEDS {
        let believes = complaints(seed, |cluster| cluster.processes[1].believes = true);
        assert!(!fence(&believes), "the fence holds, seed {seed}: {believes:?}");
        let unfenced = complaints(seed, |cluster| cluster.processes[1].unfenced = true);
        assert_eq!(unfenced, [] as [String; 0], "the engine knows that it does not lead, seed {seed}");
    }
}

/// A leader that freezes before its first write, and wakes when another one leads.
fn frozen_at_its_first_write(unfenced: bool) -> Vec<String> {
    let load = Demand::points([(minutes(10), 3.0), (minutes(11), 7.0)]);
    let begun = |cluster: &Cluster| cluster.processes.iter().map(|process| process.writes).sum::<usize>();
    let begin = || Cluster::new(world(vec![fleet(5, load.clone())]), 5, 2);
    let mut first = begin();
    while begun(&first) == 0 {
        let next = first.elapsed() + secs(1);
        first.run_until(next);
    }
    let upon = first.effects;
    // The write is one of the last effects until then.
    for back in 0..40 {
        let mut cluster = begin();
        for process in &mut cluster.processes {
            process.unfenced = unfenced;
        }
        cluster.freezes_at = Some(upon - back);
        cluster.run_until(minutes(20));
        let Some(frozen) = cluster.last else { continue };
        cluster.thaw(frozen);
        let next = cluster.elapsed() + Duration::from_secs(10);
        cluster.run_until(next);
        let found = cluster.all_complaints();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

#[test]
fn a_frozen_leader_that_wakes_and_asks_no_fence_is_found() {
    assert!(fence(&frozen_at_its_first_write(true)));
    assert_eq!(frozen_at_its_first_write(false), [] as [String; 0], "the fence holds it back");
}
