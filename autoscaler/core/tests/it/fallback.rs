//! On-demand capacity stands in for spot that does not come.

use crate::support::ec2::{Ec2, Fate, Replaces};
use autoscaler_core::{Decision, DrainBy, Member, Remark};
use fleet::Market;

#[test]
fn on_demand_stands_in_for_spot_that_does_not_come_and_is_given_back() {
    let mut ec2 = Ec2::of(4, 6);
    ec2.learning = false;
    ec2.capacity = false;
    ec2.scene.policy.on_demand.fallback = 3;
    let mut shifted = Vec::new();
    let mut tick = |ec2: &mut Ec2| {
        let planned = ec2.tick(&mut |_| Fate::Works);
        if let Decision::Shift { from, to } = planned.report.decision {
            shifted.push((from, to));
        }
        planned
    };
    for _ in 0..40 {
        let _ = tick(&mut ec2);
    }
    let fallback = ec2.scene.memory.fallback.expect("stands in");
    assert_eq!((fallback.units, ec2.on_demand, ec2.target), (3, 3, 8), "within the limit");
    assert_eq!(ec2.alive.iter().filter(|m| m.pool.market == Market::OnDemand).count(), 3);
    let planned = tick(&mut ec2);
    assert!(planned.report.remarks.iter().any(|r| matches!(r, Remark::StandsIn { units: 3, .. })));
    // After half an hour spot is asked for, in vain: on demand is counted again.
    for _ in 0..240 {
        let _ = tick(&mut ec2);
    }
    assert_eq!((ec2.on_demand, ec2.terminated.len()), (3, 0), "none was let go before spot was there");
    ec2.capacity = true;
    for _ in 0..300 {
        let _ = tick(&mut ec2);
    }
    assert_eq!((ec2.on_demand, ec2.alive.len(), ec2.target), (0, 8, 8), "{:?}", ec2.scene.memory);
    assert!(ec2.scene.memory.fallback.is_none());
    assert_eq!(shifted.iter().map(|(from, to)| to > from).collect::<Vec<_>>(), [true, false, true, false]);
}

/// A drought in which AWS takes back one spot instance every forty seconds, so often, and gives none.
///
/// * returns: the on-demand part after each.
fn drought(ec2: &mut Ec2, interruptions: usize) -> Vec<u32> {
    let mut parts = Vec::new();
    for _ in 0..interruptions {
        let stays = |m: &&Member| m.pool.market == Market::Spot && !ec2.marked.contains_key(&m.id);
        if let Some(next) = ec2.alive.iter().find(stays).map(|m| m.id.clone()) {
            ec2.interrupt(&next);
        }
        ec2.ticks(4);
        parts.push(ec2.on_demand);
    }
    parts
}

#[test]
fn on_demand_stands_in_though_somebody_is_always_on_the_way_out() {
    for (drain, replaces) in [
        (DrainBy::Nobody, Replaces::AtDeath),
        (DrainBy::Nomad, Replaces::AtDeath),
        (DrainBy::Nomad, Replaces::AtMarking),
    ] {
        let mut ec2 = if drain == DrainBy::Nomad { Ec2::with_nomad(20, 15, 2) } else { Ec2::of(20, 15) };
        (ec2.learning, ec2.capacity, ec2.replaces) = (false, false, replaces);
        ec2.scene.policy.on_demand.fallback = 15;
        let parts = drought(&mut ec2, 24);
        let what = format!("{drain:?}, {replaces:?}: {parts:?}");
        // The first has gone after two minutes, and five minutes later eight have not come.
        assert_eq!((parts[8], parts[11] >= 8), (0, true), "{what}");
        // What was taken since then is stood in for, too, as far as the limit goes.
        assert_eq!((parts[14], parts[23]), (parts[11], 15), "{what}");
        let on_demand = ec2.alive.iter().filter(|m| m.pool.market == Market::OnDemand).count();
        assert_eq!((on_demand, ec2.target), (15, 20), "{what}");
        assert!(ec2.undrained.is_empty(), "{what}");
    }
}
