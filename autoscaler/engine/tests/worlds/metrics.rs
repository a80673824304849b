//! What can be wrong with what is measured: nothing is given back on it.

use autoscaler_core::Hold;
use autoscaler_engine::{Alarm, Answer};
use autoscaler_policy::{CloudwatchMetric, CloudwatchPolicy, PrometheusPolicy, SourcePolicy};
use fleet::wire::{AgentSample, SampleBatch};
use fleet::{InstanceId, Source, Timestamp, Utilization};
use fleet_sim::{Demand, FleetSpec, override_of};
use muster_worlds::chance::Chance;
use muster_worlds::harness::{Harness, Tamper, ec2, fleet, minutes, secs, start, world};
use std::time::Duration;

/// Load that falls to a third after a quarter of an hour: whoever believes what is measured gives capacity back.
fn falling() -> FleetSpec {
    fleet(10, Demand::points([(minutes(14), 7.0), (minutes(15), 2.4)]))
}

/// Runs a fleet whose load falls, and whose agents' samples are tampered with from shortly before.
///
/// * returns: the target before, and the world an hour later.
fn tampered(mut tamper: impl FnMut(&mut Vec<(InstanceId, AgentSample)>) + 'static) -> (u32, Harness) {
    let mut harness = Harness::new(world(vec![falling()]), 5);
    for policy in &mut harness.policies {
        policy.sources = vec![SourcePolicy::Push];
    }
    let from = start() + minutes(13);
    harness.tamper = Some(Box::new(move |samples: &mut Vec<(InstanceId, AgentSample)>| {
        if samples.iter().any(|(_, sample)| sample.end_ms > from) {
            tamper(samples);
        }
    }) as Tamper);
    harness.run_until(minutes(13));
    let before = harness.truth_of(0).target;
    harness.run_until(minutes(75));
    harness.conclude();
    (before, harness)
}

/// Runs it, and the fleet must not have shrunk.
fn not_believed(tamper: impl FnMut(&mut Vec<(InstanceId, AgentSample)>) + 'static) -> Harness {
    let (before, harness) = tampered(tamper);
    let truth = harness.truth_of(0);
    assert!(truth.target >= before, "{before} became {truth:?}");
    harness
}

/// Runs it, and the fleet must have shrunk to about what it needs.
fn believed(tamper: impl FnMut(&mut Vec<(InstanceId, AgentSample)>) + 'static) -> Harness {
    let (_, harness) = tampered(tamper);
    let truth = harness.truth_of(0);
    let report = harness.status(0).decided.expect("it decides").report;
    assert!(truth.target <= 6, "{truth:?}\n{report:#?}");
    harness
}

fn metrics_of(harness: &Harness) -> &autoscaler_engine::EngineMetrics {
    harness.engine.as_ref().expect("a process runs").metrics()
}

#[test]
fn what_is_measured_well_is_believed() {
    believed(|_| {});
}

#[test]
fn without_samples_nothing_is_given_back() {
    let harness = not_believed(Vec::clear);
    assert!(harness.raised().iter().any(|alarm| matches!(alarm, Alarm::NoSamples { .. })));
    let report = harness.status(0).decided.expect("it decides").report;
    let stale = |hold: &Hold| matches!(hold, Hold::NoSamples | Hold::SamplesStale { .. });
    assert!(report.holds.iter().any(stale), "{report}");
}

#[test]
fn samples_that_come_too_late_are_not_the_present() {
    let mut held = std::collections::VecDeque::new();
    let harness = not_believed(move |samples| {
        // A quarter of an hour late.
        held.push_back(std::mem::take(samples));
        if held.len() > 90 {
            samples.extend(held.pop_front().expect("there are 90"));
        }
    });
    assert!(metrics_of(&harness).samples_dropped > 0);
}

#[test]
fn one_that_speaks_does_not_speak_for_ten() {
    let harness = not_believed(|samples| samples.truncate(1));
    assert!(harness.raised().iter().any(|alarm| matches!(alarm, Alarm::AgentsSilent { heard: 1, .. })));
}

#[test]
fn a_few_that_are_silent_do_not_matter() {
    let harness = believed(|samples| {
        let few = samples.len() * 3 / 4;
        samples.truncate(few);
    });
    assert!(!harness.was_raised("agents_silent"));
}

#[test]
fn samples_out_of_order_and_twice_count_once() {
    let mut chance = Chance::new(1);
    let mut before: Vec<(InstanceId, AgentSample)> = Vec::new();
    let harness = believed(move |samples| {
        let now = samples.clone();
        samples.append(&mut before);
        let length = samples.len();
        for index in (1..length).rev() {
            let other =
                usize::try_from(chance.between(0, u64::try_from(index).expect("small") + 1)).expect("small");
            samples.swap(index, other);
        }
        before = now;
    });
    let latest =
        harness.status(0).decided.and_then(|decided| decided.report.utilization).expect("it is known");
    assert!((latest.get() - harness.truth_of(0).utilization).abs() < 0.01);
}

#[test]
fn what_is_no_utilization_is_refused() {
    for odd in [f64::NAN, f64::INFINITY, -0.1, 1.01, 250.0] {
        let harness = not_believed(move |samples| samples.iter_mut().for_each(|(_, s)| s.utilization = odd));
        assert!(metrics_of(&harness).batches_rejected["malformed"] > 0, "{odd}");
    }
}

#[test]
fn clocks_of_nodes_that_run_ahead_do_not_stop_it() {
    believed(|samples| {
        for (_, sample) in samples {
            sample.end_ms = sample.end_ms + minutes(30);
        }
    });
}

#[test]
fn batches_from_elsewhere_or_of_another_kind_are_refused() {
    let mut harness = Harness::new(world(vec![falling()]), 5);
    harness.run_until(minutes(1));
    let instance = harness.status(0).instances[0].id.clone();
    let peer = harness.world.private_address(&instance).expect("it has one");
    let now = harness.now();
    let sample =
        AgentSample { end_ms: now.wall, period_ms: 10_000, utilization: 0.5, load_per_core: None, psi: None };
    let batch = |instance: &InstanceId, sequence, samples: Vec<AgentSample>| SampleBatch {
        version: 1,
        instance: instance.clone(),
        sequence,
        samples,
    };
    let engine = harness.engine.as_mut().expect("a process runs");
    let mut refused = |peer, batch: &SampleBatch| {
        engine.accept_samples(peer, batch, now).0.expect_err("it is refused").label()
    };
    let good = batch(&instance, 100, vec![sample]);
    assert_eq!(refused("10.9.9.9".parse().expect("an address"), &good), "wrong_peer");
    assert_eq!(refused(peer, &SampleBatch { version: 2, ..good.clone() }), "version");
    assert_eq!(refused(peer, &batch(&"i-unknown".into(), 0, vec![sample])), "unknown_yet");
    assert_eq!(refused(peer, &batch(&instance, 100, vec![sample; 361])), "too_many");
    let short = AgentSample { period_ms: 10, ..sample };
    assert_eq!(refused(peer, &batch(&instance, 100, vec![sample, short])), "malformed");
    let load = AgentSample { load_per_core: Some(f64::NAN), ..sample };
    assert_eq!(refused(peer, &batch(&instance, 100, vec![load])), "malformed");
    let engine = harness.engine.as_mut().expect("a process runs");
    assert_eq!(engine.accept_samples(peer, &good, now).0.map(|answer| answer.accepted), Ok(1));
    let again = engine.accept_samples(peer, &good, now).0.expect_err("it came before");
    assert_eq!(again.label(), "duplicate");
    let gap = batch(&instance, 104, vec![AgentSample { end_ms: now.wall + secs(1), ..sample }]);
    engine.accept_samples(peer, &gap, now).0.expect("a gap is no reason to refuse");
    // Batches before the hundredth were skipped, too.
    let lost = engine.metrics().batches_lost;
    engine.accept_samples(peer, &batch(&instance, 0, vec![sample]), now).0.expect_err("nothing new");
    let anew = batch(&instance, 0, vec![AgentSample { end_ms: now.wall + secs(2), ..sample }]);
    engine.accept_samples(peer, &anew, now).0.expect("an agent that began anew");
    assert!(lost >= 3);
    assert_eq!(engine.metrics().batches_lost, lost);
}

#[test]
fn agents_that_nobody_knows_make_us_look_once_each_and_not_too_often() {
    let mut harness = Harness::new(world(vec![falling()]), 5);
    harness.run_until(minutes(10));
    let before = harness.world.calls().total("muster");
    let now = harness.now();
    for number in 0..500 {
        let batch = SampleBatch {
            version: 1,
            instance: InstanceId::new(format!("i-{number}")),
            sequence: 0,
            samples: Vec::new(),
        };
        let peer = "10.1.1.1".parse().expect("an address");
        let engine = harness.engine.as_mut().expect("a process runs");
        let (answer, effects) = engine.accept_samples(peer, &batch, now);
        answer.expect_err("nobody knows it");
        harness.begin(effects);
    }
    harness.run_until(minutes(10) + secs(5));
    assert!(harness.world.calls().total("muster") - before <= 2);
}

#[test]
fn cloudwatch_is_asked_when_agents_fall_silent_and_left_when_they_speak() {
    let mut harness = Harness::new(world(vec![fleet(8, Demand::constant(5.9))]), 5);
    harness.run_until(minutes(10));
    assert_eq!(harness.status(0).source, Some(Source::Push));
    harness.push = false;
    harness.run_until(minutes(20));
    assert_eq!(harness.status(0).source, Some(Source::Cloudwatch));
    let report = harness.status(0).decided.expect("it decides").report;
    let (seen, real) = (report.utilization.expect("it is known").get(), harness.truth_of(0).utilization);
    assert!((seen - real).abs() < 0.02, "{seen} where it is {real}");
    harness.push = true;
    harness.run_until(minutes(22));
    assert_eq!(harness.status(0).source, Some(Source::Push));
    let asked =
        |harness: &Harness| harness.world.calls().of("muster", fleet_sim::Action::GET_METRIC_DATA).calls;
    let before = asked(&harness);
    harness.run_until(minutes(40));
    assert_eq!(asked(&harness), before);
    harness.conclude();
}

#[test]
fn of_two_sources_that_tell_the_preferred_one_is_believed() {
    let mut harness = Harness::new(world(vec![fleet(8, Demand::constant(5.9))]), 5);
    harness.policies[0].sources.reverse();
    harness.run_until(minutes(20));
    assert_eq!(harness.status(0).source, Some(Source::Cloudwatch));
    let report = harness.status(0).decided.expect("it decides").report;
    assert_eq!(report.source, Some(Source::Cloudwatch), "agents push, too, and are not asked");
    harness.conclude();
}

#[test]
fn five_minute_metrics_hold_a_fleet_as_well_as_they_can() {
    let mut spec = fleet(8, Demand::constant(3.0));
    spec.request.detailed_monitoring = false;
    let mut harness = Harness::new(world(vec![spec]), 5).cloudwatch_only();
    harness.run_until(minutes(120));
    assert!(harness.truth_of(0).target <= 6, "{:?}", harness.truth_of(0));
    harness.conclude();
}

#[test]
fn metrics_by_instance_are_weighed_by_power() {
    // A third of the fleet's power is in one large instance.
    let mut spec = fleet(6, Demand::points([(Duration::ZERO, 4.4), (minutes(60), 4.4)]));
    spec.request.overrides = vec![override_of("m5.large", 1.0), override_of("c5.xlarge", 2.0)];
    let mut harness = Harness::new(world(vec![ec2(spec)]), 5).cloudwatch_only();
    let by_instance = |source: &SourcePolicy| matches!(source, SourcePolicy::Cloudwatch(c) if c.metric == CloudwatchMetric::Instances);
    assert!(harness.policies[0].sources.iter().all(by_instance));
    harness.run_until(minutes(30));
    let report = harness.status(0).decided.expect("it decides").report;
    assert_eq!(report.source, Some(Source::Cloudwatch));
    let demand = report.demand.expect("it is known").get();
    assert!((demand - 8.8).abs() < 0.3, "4.4 units of two vCPUs: {demand}");
    harness.conclude();
}

#[test]
fn prometheus_tells_where_it_is_the_source() {
    let mut harness = Harness::new(world(vec![falling()]), 5);
    harness.push = false;
    let query = harness.id(0).as_str().to_owned();
    let prometheus =
        PrometheusPolicy { address: "http://prometheus:9090".to_owned(), query, token_file: None };
    harness.policies[0].sources = vec![SourcePolicy::Prometheus(prometheus)];
    harness.run_until(minutes(75));
    assert_eq!(harness.status(0).source, Some(Source::Prometheus));
    assert!(harness.truth_of(0).target <= 6, "{:?}", harness.truth_of(0));
    harness.conclude();
}

/// A metric of the operator's own; `FulfilledCapacity` is the only one that the world knows.
fn custom(metric: &str, fleet: &fleet::FleetId) -> SourcePolicy {
    let metric = CloudwatchMetric::Custom {
        namespace: "Own".to_owned(),
        metric: metric.to_owned(),
        statistic: "Average".to_owned(),
        dimensions: [("id".to_owned(), fleet.as_str().to_owned())].into(),
    };
    SourcePolicy::Cloudwatch(CloudwatchPolicy { metric, period: None })
}

#[test]
fn one_fleets_wrong_metric_blinds_no_other() {
    let mut harness = Harness::new(world((0..4).map(|_| fleet(8, Demand::constant(5.9))).collect()), 5);
    harness.push = false;
    for (index, source) in [(0, None), (1, Some("FulfilledCapacity")), (2, Some("Misspelt")), (3, None)] {
        let own = || SourcePolicy::Cloudwatch(CloudwatchPolicy::of(fleet::Backend::SpotFleet));
        harness.policies[index].sources =
            vec![source.map_or_else(own, |name| custom(name, &harness.id(index)))];
    }
    let prometheus = PrometheusPolicy {
        address: "http://prometheus:9090".to_owned(),
        query: "sum(".to_owned(),
        token_file: None,
    };
    harness.policies[3].sources = vec![SourcePolicy::Prometheus(prometheus)];
    harness.run_until(minutes(15));
    let source = |index: usize| harness.status(index).source;
    assert_eq!(source(0), Some(Source::Cloudwatch));
    assert_eq!(source(1), Some(Source::Cloudwatch), "right, though read beside a wrong one");
    assert_eq!((source(2), source(3)), (None, None));
    let wrong = harness.raised().into_iter().filter_map(|alarm| match alarm {
        Alarm::Malformed { operation, .. } => Some(operation),
        _ => None,
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.contains(&"eu-west-1 cloudwatch fleet-2".to_owned()), "{wrong:?}");
    assert!(wrong.contains(&"eu-west-1 prometheus fleet-3".to_owned()), "{wrong:?}");
}

#[test]
fn answers_of_metrics_services_are_read_with_care() {
    let mut harness = Harness::new(world(vec![falling()]), 5).cloudwatch_only();
    harness.tamper_answer = Some(Box::new(|answer: &mut Answer| {
        if let Answer::Metrics(Ok(series)) = answer {
            for series in series {
                // Newest first, twice, and from a time that is not yet.
                series.points.reverse();
                let again = series.points.clone();
                series.points.extend(again);
                series
                    .points
                    .push((Timestamp::parse("2030-01-01T00:00:00Z").expect("a time"), Utilization::new(1.0)));
            }
        }
    }));
    harness.run_until(minutes(75));
    assert!((3..=6).contains(&harness.truth_of(0).target), "{:?}", harness.truth_of(0));
    harness.conclude();
}

#[test]
fn the_past_is_read_once_when_the_journal_holds_none() {
    let day = |hour: u64| if hour % 24 < 12 { 3.0 } else { 6.0 };
    let load = Demand::points((0..80).map(|hour| (minutes(hour * 60), day(hour))));
    // The world runs for three days before we come.
    let mut harness = Harness::new(world(vec![fleet(9, load)]), 5);
    harness.config.backfill = Duration::from_secs(14 * 86_400);
    harness.policies[0].sources =
        vec![SourcePolicy::Push, SourcePolicy::Cloudwatch(CloudwatchPolicy::of(fleet::Backend::SpotFleet))];
    harness.start_late(minutes(72 * 60));
    harness.run_until(minutes(72 * 60 + 5));
    let checkpoints = |harness: &Harness| {
        let entries: Vec<_> = harness.disk.entries().collect();
        let learned = |record: &autoscaler_engine::Record| match record {
            autoscaler_engine::Record::Checkpoint(c) if c.cause == autoscaler_engine::Cause::Backfilled => {
                Some(c.state.learned.clone())
            }
            _ => None,
        };
        entries.iter().flat_map(|entry| entry.records.iter().filter_map(learned)).collect::<Vec<_>>()
    };
    let learned = checkpoints(&harness);
    let [learned] = &learned[..] else { panic!("{} backfills", learned.len()) };
    let (from, demand) = learned.history().next().expect("there is a past");
    assert!(from <= start() + minutes(48 * 60), "it begins at {from}");
    assert!((5.0..13.0).contains(&demand.get()), "3 to 6 units of two vCPUs: {demand}");
    harness.run_until(minutes(73 * 60));
    harness.conclude();
    harness.die();
    harness.run_until(minutes(74 * 60));
    assert_eq!(checkpoints(&harness).len(), 1, "the journal knows it now");
    harness.conclude();
}
