//! Figures about notices and faults, counted in virtual time: `figures interruptions|dip|throttling`, one JSON
//! document each.

use autoscaler_core::{FleetBuys, Policy};
use fleet::InstanceId;
use fleet_sim::{Delay, Demand, Effect, Fault, InstancePhase, Replaced, WorldSpec};
use muster_worlds::cluster::Cluster;
use muster_worlds::harness::{fleet, minutes, secs, world};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

/// How long a fleet settles before anything is measured.
const SETTLES: Duration = minutes(10);

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]
fn main() -> ExitCode {
    let what = std::env::args().nth(1).unwrap_or_default();
    let found = match what.as_str() {
        "interruptions" => interruptions(),
        "dip" => dips(),
        "throttling" => throttling(),
        _ => {
            eprintln!("usage: figures interruptions|dip|throttling");
            return ExitCode::from(2);
        }
    };
    println!("{found}");
    ExitCode::SUCCESS
}

/// A fleet of so many that stays so large, with two autoscalers, and what their policy says of when it buys.
fn steady(size: u32, surge: u32, replaced: Replaced, said: FleetBuys) -> Cluster {
    let mut spec = world(vec![fleet(size, Demand::constant(f64::from(size) * 0.65))]);
    spec.interruptions.replaced = replaced;
    spec.timing.boot = Delay::Constant(secs(90));
    let pin = |policy: &mut Policy| {
        (policy.capacity.min, policy.capacity.max, policy.capacity.surge) = (size, size, surge);
        policy.interruption.fleet_buys = said;
    };
    let mut cluster = Cluster::new(spec, 5, 2).policy(pin);
    cluster.run_until(SETTLES);
    cluster
}

fn serving(cluster: &Cluster) -> Vec<InstanceId> {
    let serving = cluster.members(0).into_iter().filter(|member| member.phase == InstancePhase::InService);
    serving.map(|member| member.id).collect()
}

/// A thousand interruptions in bursts of ten within a minute, each told of up to five times, the leader killed in the
/// middle of every fifth burst.
fn interruptions() -> String {
    let mut found = Vec::new();
    for (replaced, said) in [
        (Replaced::AtMarking, FleetBuys::AtMarking),
        (Replaced::AtMarking, FleetBuys::Unknown),
        (Replaced::AtDeath, FleetBuys::Unknown),
    ] {
        let mut cluster = steady(20, 2, replaced, said);
        cluster.duplicates = 2;
        let (mut interrupted, mut lost_before, mut late) = (0, 0, 0);
        let mut seen: BTreeSet<InstanceId> = BTreeSet::new();
        let begun = note(&cluster, &mut seen);
        for burst in 0..100_u64 {
            let from = cluster.elapsed();
            for number in 0..10 {
                let Some(victim) = serving(&cluster).into_iter().find(|id| is_sound(&cluster, id)) else {
                    continue;
                };
                interrupted += u32::from(cluster.world.interrupt(&victim));
                cluster.run_until(from + secs(number * 6 + 3));
                note(&cluster, &mut seen);
                if burst % 5 == 4
                    && number == 5
                    && let Some(leader) = cluster.leader()
                {
                    cluster.processes[leader].dies_in = Some(1);
                }
            }
            for minute in 2..=12 {
                cluster.run_until(from + minutes(minute));
                note(&cluster, &mut seen);
            }
            late += usize::from(cluster.nomad.lost > lost_before);
            lost_before = cluster.nomad.lost;
        }
        let bought = note(&cluster, &mut seen) - begun;
        let truth = cluster.truth_of(0);
        let complaints = cluster.all_complaints().len();
        found.push(format!(
            r#"{{"replaced":"{replaced:?}","said":"{said:?}","interrupted":{interrupted},"allocations_lost":{},"bursts_with_loss":{late},"bought":{bought},"serving_at_the_end":{},"target_at_the_end":{},"crashes":{},"complaints":{complaints}}}"#,
            cluster.nomad.lost, truth.in_service, truth.target, cluster.crashes,
        ));
    }
    format!("[{}]", found.join(","))
}

/// Notes who there is. * returns: how many have been there so far.
fn note(cluster: &Cluster, seen: &mut BTreeSet<InstanceId>) -> usize {
    seen.extend(cluster.members(0).into_iter().map(|member| member.id));
    seen.len()
}

fn is_sound(cluster: &Cluster, id: &InstanceId) -> bool {
    cluster.world.notices(id).is_none_or(|notices| notices.terminate_at.is_none())
}

/// Seconds in which less serves than is asked for, after one interruption of a fleet of six: boot 90 s.
fn dips() -> String {
    let mut found = Vec::new();
    for replaced in [Replaced::AtMarking, Replaced::AtDeath] {
        let mut cluster = steady(6, 2, replaced, FleetBuys::Unknown);
        let mut below = 0;
        for _ in 0..20 {
            let from = cluster.elapsed();
            let victim = serving(&cluster)[0].clone();
            cluster.world.interrupt(&victim);
            for second in 1..=600 {
                cluster.run_until(from + secs(second));
                below += u32::from(serving(&cluster).len() < 6);
            }
        }
        found.push(format!(
            r#"{{"replaced":"{replaced:?}","interruptions":20,"seconds_below":{below},"allocations_lost":{}}}"#,
            cluster.nomad.lost
        ));
    }
    format!("[{}]", found.join(","))
}

/// A day of a load that swings, with and without a third of all calls to EC2 and CloudWatch throttled.
fn throttling() -> String {
    let mut found = Vec::new();
    for share in [0.0, 0.3] {
        let (mut above, mut seconds) = (0_u64, 0_u64);
        for seed in 0..4 {
            let mut cluster = Cluster::new(swinging(share), seed, 1).policy(|policy| {
                (policy.capacity.min, policy.capacity.max) = (1, 20);
            });
            cluster.run_until(minutes(60));
            while cluster.elapsed() < minutes(25 * 60) {
                cluster.run_until(cluster.elapsed() + secs(10));
                seconds += 10;
                above += 10 * u64::from(cluster.truth_of(0).utilization > 0.8);
            }
        }
        found.push(format!(r#"{{"throttled":{share},"seconds":{seconds},"seconds_above_80":{above}}}"#));
    }
    format!("[{}]", found.join(","))
}

/// Hours that go up and down between three and eleven units, with a step every now and then.
fn swinging(share: f64) -> WorldSpec {
    let points = (0..=25 * 12).map(|point: u32| {
        let hours = f64::from(point) / 12.0;
        let wave = 7.0 - 4.0 * (hours * std::f64::consts::TAU / 24.0).cos();
        let step = if point % 41 < 6 { 1.5 } else { 0.0 };
        (minutes(u64::from(point) * 5), wave + step)
    });
    let mut spec = world(vec![fleet(4, Demand::points(points.collect::<Vec<_>>()))]);
    if share > 0.0 {
        spec.faults.push(Fault { from: Duration::ZERO, until: None, effect: Effect::throttle(share) });
    }
    spec
}
