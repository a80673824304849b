//! What one agent can send, and what it cannot do with that.

use autoscaler_engine::Rejection;
use fleet::wire::{AgentSample, SampleBatch, SamplesAccepted};
use fleet::{InstanceId, Timestamp};
use fleet_sim::Demand;
use muster_worlds::harness::{Harness, fleet, minutes, secs, world};
use proptest::prelude::*;
use std::net::IpAddr;

/// A fleet that has run for a minute, and one of its instances.
fn running() -> (Harness, InstanceId) {
    let mut harness = Harness::new(world(vec![fleet(4, Demand::constant(2.5))]), 5);
    harness.push = false;
    harness.run_until(minutes(1));
    let instance = harness.status(0).instances[0].id.clone();
    (harness, instance)
}

fn address(harness: &Harness, instance: &InstanceId) -> IpAddr {
    harness.world.private_address(instance).expect("it has one")
}

fn sample(end_ms: Timestamp) -> AgentSample {
    AgentSample { end_ms, period_ms: 10_000, utilization: 0.5, load_per_core: None, psi: None }
}

fn send(
    harness: &mut Harness,
    (instance, peer): (&InstanceId, IpAddr),
    sequence: u64,
    end: Timestamp,
) -> Result<SamplesAccepted, Rejection> {
    let batch = SampleBatch { version: 1, instance: instance.clone(), sequence, samples: vec![sample(end)] };
    let now = harness.now();
    let (answer, effects) =
        harness.engine.as_mut().expect("a process runs").accept_samples(peer, &batch, now);
    harness.begin(effects);
    answer
}

fn lost(harness: &Harness) -> u64 {
    harness.engine.as_ref().expect("a process runs").metrics().batches_lost
}

#[test]
fn numbers_that_leap_are_an_agent_that_began_anew() {
    let (mut harness, instance) = running();
    let peer = address(&harness, &instance);
    for (step, sequence) in [0, u64::MAX, 3, u64::MAX - 1, 7, 9].into_iter().enumerate() {
        let now = harness.now().wall;
        let answer = send(&mut harness, (&instance, peer), sequence, now);
        assert_eq!(answer.map(|answer| answer.accepted), Ok(1), "step {step}");
        harness.run_until(harness.elapsed() + secs(10));
    }
    assert_eq!(lost(&harness), 1, "the one between 7 and 9");
}

#[test]
fn a_clock_that_ran_ahead_and_was_set_right_is_heard_at_once() {
    for restarted in [false, true] {
        let (mut harness, instance) = running();
        let peer = address(&harness, &instance);
        for sequence in 100..110 {
            let ahead = harness.now().wall + minutes(60);
            send(&mut harness, (&instance, peer), sequence, ahead).expect("it counts as of now");
            harness.run_until(harness.elapsed() + secs(10));
        }
        let right = harness.now().wall;
        let sequence = if restarted { 0 } else { 110 };
        let answer = send(&mut harness, (&instance, peer), sequence, right);
        assert_eq!(answer.map(|answer| answer.accepted), Ok(1), "restarted: {restarted}");
    }
}

#[test]
fn instances_that_are_leaving_or_gone_tell_nothing() {
    let mut spec = world(vec![fleet(4, Demand::constant(2.5))]);
    spec.timing.shutting_down = minutes(10);
    let mut harness = Harness::new(spec, 5);
    harness.run_until(minutes(5));
    let victim = harness.status(0).instances[0].id.clone();
    let peer = address(&harness, &victim);
    harness.world.terminate_instances("somebody", std::slice::from_ref(&victim)).expect("they may");
    let idle = |harness: &mut Harness, sequence| {
        let end = harness.now().wall;
        let batch = SampleBatch {
            version: 1,
            instance: victim.clone(),
            sequence,
            samples: vec![AgentSample { utilization: 0.0, ..sample(end) }],
        };
        let now = harness.now();
        let engine = harness.engine.as_mut().expect("a process runs");
        let (answer, effects) = engine.accept_samples(peer, &batch, now);
        harness.begin(effects);
        answer
    };
    harness.run_until(minutes(9));
    for sequence in 1000..1060 {
        let answer = idle(&mut harness, sequence);
        assert_eq!(answer.map(|answer| answer.accepted), Ok(0), "it shuts down");
        harness.run_until(harness.elapsed() + secs(1));
    }
    let told = harness.status(0).decided.and_then(|decided| decided.report.utilization);
    let real = harness.truth_of(0).utilization;
    assert!(told.is_some_and(|told| (told.get() - real).abs() < 0.05), "{told:?} where it is {real}");
    harness.run_until(minutes(40));
    assert_eq!(
        idle(&mut harness, 2000),
        Err(Rejection::UnknownYet { instance: victim.clone() }),
        "it is gone"
    );
    harness.conclude();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever numbers and times an agent sends, it is answered, nothing overflows, and the fleet is decided
    /// upon as before.
    #[test]
    fn no_number_and_no_time_breaks_anything(
        batches in proptest::collection::vec((any::<u64>(), any::<i64>(), 0_i64..2), 1..30),
    ) {
        let (mut harness, instance) = running();
        let peer = address(&harness, &instance);
        for (sequence, millis, near) in batches {
            let now = harness.now().wall;
            let end = if near == 1 { now } else { Timestamp::from_millis(millis) };
            let _ = send(&mut harness, (&instance, peer), sequence, end);
            harness.run_until(harness.elapsed() + secs(1));
        }
        prop_assert!(lost(&harness) <= 30_000_000);
        harness.run_until(harness.elapsed() + secs(15));
        harness.conclude();
    }
}
