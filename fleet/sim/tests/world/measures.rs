//! What can be seen of load, by whom and when.

use crate::bench::{Bench, ME, START, fleet_of, one_pool, secs, step};
use fleet::wire::AgentSample;
use fleet::{ExcessCapacity, InstanceId, Timestamp};
use fleet_sim::{Demand, FleetRequest, FleetSpec, Metric, MetricPoints};

const KEEP: ExcessCapacity = ExcessCapacity::NoTermination;

fn loaded(load: Demand, initial: u32) -> Bench {
    Bench::new(one_pool(), FleetSpec { load, ..fleet_of(initial) })
}

fn samples(bench: &Bench, after: Timestamp) -> Vec<(InstanceId, AgentSample)> {
    let mut out = Vec::new();
    bench.world.agent_samples(after, &mut out);
    out
}

fn read(bench: &mut Bench, metric: Metric) -> MetricPoints {
    let to = bench.world.now();
    bench.world.read_metrics(ME, &[metric], START, to).expect("a series").remove(0)
}

#[test]
fn an_agents_sample_is_there_a_second_after_its_end() {
    let mut bench = loaded(Demand::constant(3.0), 4);
    bench.pass(10);
    assert_eq!(samples(&bench, START), []);
    bench.pass(1);
    let seen = samples(&bench, START);
    let senders: Vec<_> = seen.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(senders, bench.serving());
    for (_, sample) in seen {
        assert_eq!((sample.end_ms, sample.period_ms, sample.utilization), (START + secs(10), 10_000, 0.75));
        assert_eq!(sample.load_per_core, Some(0.75));
    }
    assert_eq!(samples(&bench, START + secs(10)), [], "each once");
    bench.pass(30);
    assert_eq!(samples(&bench, START + secs(20)).len(), 8, "a reader that lags gets all it missed");
}

#[test]
fn an_agent_speaks_from_when_its_instance_serves_until_its_end() {
    let mut bench = loaded(Demand::constant(3.0), 4);
    bench.modify(5, KEEP);
    bench.pass(131);
    assert_eq!(samples(&bench, START + secs(110)).len(), 4 + 5, "at 120 and 130 s");
    let gone = bench.serving()[0].clone();
    bench.terminate(std::slice::from_ref(&gone));
    bench.pass(10);
    let seen = samples(&bench, START + secs(130));
    assert!(seen.len() == 4 && seen.iter().all(|(id, _)| *id != gone));
}

#[test]
fn a_fourfold_step_is_visible_at_once_though_utilisation_is_not() {
    let mut bench = loaded(step(3.0, 60, 12.0), 4);
    bench.pass(71);
    let seen = samples(&bench, START + secs(60));
    assert_eq!((seen[0].1.utilization, seen[0].1.load_per_core, seen[0].1.psi), (1.0, Some(3.0), Some(1.0)));
}

#[test]
fn a_draining_instance_still_speaks_and_is_idle() {
    let mut bench = loaded(Demand::constant(3.0), 4);
    let drained = bench.serving()[0].clone();
    assert!(bench.world.drain(&drained));
    bench.pass(11);
    let seen = samples(&bench, START);
    let of = |id: &InstanceId| seen.iter().find(|(of, _)| of == id).map(|(_, sample)| sample.utilization);
    assert_eq!((of(&drained), of(&bench.serving()[0])), (Some(0.0), Some(1.0)), "three carry what four did");
    assert!(!bench.world.drain(&drained), "it does not serve any more");
}

#[test]
fn cloudwatch_shows_minutes_a_minute_late() {
    let mut bench = loaded(Demand::constant(3.0), 4);
    bench.pass(119);
    let fleet = bench.fleet.clone();
    assert_eq!(read(&mut bench, Metric::FleetCpu(fleet.clone())).points, []);
    bench.pass(1);
    assert_eq!(read(&mut bench, Metric::FleetCpu(fleet.clone())).points, [(START, 75.0)]);
    bench.pass(60);
    let points = read(&mut bench, Metric::FleetCpu(fleet));
    assert_eq!(
        points,
        MetricPoints { period: secs(60), points: vec![(START, 75.0), (START + secs(60), 75.0)] }
    );
}

#[test]
fn without_detailed_monitoring_points_are_five_minutes_apart_and_late() {
    let request = FleetRequest { detailed_monitoring: false, ..FleetRequest::default() };
    let load = step(1.0, 150, 3.0);
    let mut bench = Bench::new(one_pool(), FleetSpec { request, load, ..fleet_of(4) });
    bench.pass(599);
    let fleet = bench.fleet.clone();
    assert_eq!(read(&mut bench, Metric::FleetCpu(fleet.clone())).points, []);
    bench.pass(1);
    let points = read(&mut bench, Metric::FleetCpu(fleet.clone()));
    assert_eq!(points.period, secs(300));
    assert!((points.points[0].1 - 50.0).abs() < 0.01, "half at 25 %, half at 75 %: {points:?}");
    let target = read(&mut bench, Metric::TargetCapacity(fleet));
    assert_eq!(
        (target.period, target.points[0]),
        (secs(60), (START, 4.0)),
        "the fleet's gauges are not meant"
    );
}

#[test]
fn booting_instances_dilute_the_fleets_mean_and_not_the_others_own() {
    let mut bench = loaded(Demand::constant(3.0), 4);
    bench.pass(50);
    bench.modify(8, KEEP);
    bench.pass(190);
    let fleet = bench.fleet.clone();
    let points = read(&mut bench, Metric::FleetCpu(fleet)).points;
    let second = points[1].1;
    assert!((second - 47.5).abs() < 0.01, "four at 75 %, four booting at 20 %: {points:?}");
    let (oldest, newest) = (bench.serving()[0].clone(), bench.serving()[7].clone());
    assert_eq!(read(&mut bench, Metric::InstanceCpu(oldest)).points[1].1, 75.0);
    let newest = read(&mut bench, Metric::InstanceCpu(newest)).points;
    // Asked for at 50 s, it ran from 60 s on: its first minute has nothing, its next one is all booting.
    assert_eq!(newest[0], (START + secs(60), 20.0));
}

#[test]
fn an_instance_that_ends_while_it_boots_leaves_the_fleets_mean() {
    let mut bench = loaded(Demand::constant(3.0), 4);
    bench.set(5, KEEP);
    bench.set(4, KEEP);
    let booting = bench.in_phase(fleet_sim::InstancePhase::Booting)[0].id.clone();
    bench.terminate(&[booting]);
    bench.pass(160);
    let fleet = bench.fleet.clone();
    assert_eq!(read(&mut bench, Metric::FleetCpu(fleet)).points[1].1, 75.0);
}

#[test]
fn gauges_follow_target_and_capacity() {
    let mut bench = loaded(Demand::constant(3.0), 4);
    bench.pass(70);
    bench.modify(6, KEEP);
    bench.pass(230);
    let fleet = bench.fleet.clone();
    let values = |points: MetricPoints| points.points.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    assert_eq!(values(read(&mut bench, Metric::TargetCapacity(fleet.clone()))), [4.0, 6.0, 6.0, 6.0]);
    assert_eq!(values(read(&mut bench, Metric::FulfilledCapacity(fleet))), [4.0, 6.0, 6.0, 6.0]);
}

#[test]
fn what_does_not_exist_has_no_points_and_too_many_questions_are_refused() {
    let mut bench = loaded(Demand::constant(3.0), 4);
    bench.pass(300);
    let nobody = Metric::InstanceCpu("i-nope".into());
    assert_eq!(read(&mut bench, nobody.clone()).points, []);
    let many = vec![nobody; 501];
    assert!(bench.world.read_metrics(ME, &many, START, START).is_err());
}

#[test]
fn a_stretch_of_time_is_answered_as_asked() {
    let mut bench = loaded(Demand::constant(3.0), 4);
    bench.pass(1200);
    let metric = Metric::FleetCpu(bench.fleet.clone());
    let points = bench.world.metric(&metric, START + secs(120), START + secs(300));
    let starts: Vec<_> = points.points.iter().map(|(start, _)| start.since(START).as_secs()).collect();
    assert_eq!(starts, [120, 180, 240]);
}

#[test]
fn series_and_samples_are_kept_for_a_bounded_time() {
    let mut spec = one_pool();
    (spec.metrics.kept, spec.metrics.steps_kept) = (secs(3600), secs(600));
    let mut bench = Bench::new(spec, fleet_of(1));
    bench.pass(86_400);
    let fleet = bench.fleet.clone();
    assert_eq!(
        read(&mut bench, Metric::TargetCapacity(fleet)).points.len(),
        59,
        "the newest is not seen yet"
    );
    assert_eq!(samples(&bench, START).len(), 59, "the newest is not seen yet");
}
