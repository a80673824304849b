//! The planner that decides in production, asked about the nodes of a real Nomad.

use autoscaler_core::{
    DrainBy, Hold, Learned, Member, Memory, Observed, Phase, Planned, Policy, Snapshot, plan,
};
use autoscaler_nomad::facts::{NodeFact, views};
use fleet::{
    Backend, CapacityUnits, ExcessCapacity, FleetId, FleetKind, FleetState, FleetView, Health, NodeId, Pool,
    Power, Sample, Saturation, Source, Timestamp, Utilization, Weight,
};
use std::collections::BTreeMap;
use std::time::Duration;

const NOON: Timestamp = Timestamp::from_secs(1_790_000_400);

/// What a third of the fleet's power carries, measured at a time.
fn sample(end: Timestamp, power: f64) -> Sample {
    Sample {
        source: Source::Push,
        end,
        period: Duration::from_secs(10),
        utilization: Utilization::new(1.0 / power),
        power: Power::new(power),
        instances: 3,
        saturation: Saturation::default(),
    }
}

fn member(node: &NodeFact, victim: &NodeId) -> Member {
    let launched = NOON - Duration::from_secs(10_000);
    Member {
        id: node.instance.clone().expect("an instance"),
        pool: Pool::spot("m5.large", "eu-west-1a"),
        weight: Weight::new(1.0),
        power: Power::new(1.0),
        phase: Phase::InService,
        since: launched,
        launched,
        health: Health::Healthy,
        // Nobody else may be chosen.
        protected: node.id != *victim,
        launch: None,
    }
}

fn view(target: u32) -> FleetView {
    FleetView {
        id: FleetId::new("sfr-1"),
        backend: Backend::SpotFleet,
        state: FleetState::Active,
        activity: None,
        kind: FleetKind::Maintain,
        target,
        on_demand_target: 0,
        fulfilled: CapacityUnits::new(f64::from(target)),
        excess: ExcessCapacity::NoTermination,
        strategy: None,
        capacity_rebalance: false,
        overrides: Vec::new(),
        launch: None,
        tags: BTreeMap::new(),
        created: NOON - Duration::from_secs(86_400),
        valid_until: None,
    }
}

/// Whether a fleet of these nodes that is one too large gives this one back: it does where its work has a place on the others.
pub fn lets_go(nodes: &[NodeFact], victim: &NodeId) -> bool {
    let mut policy = Policy::default();
    policy.drain.by = DrainBy::Nomad;
    let mut learned = Learned::default();
    for step in 0..720 {
        learned.observe(&policy, &sample(NOON - Duration::from_secs(7200 - step * 10), 20.0));
    }
    let members = nodes.iter().map(|node| member(node, victim)).collect();
    let seen = Snapshot {
        fleet: Some(Observed { at: NOON, what: view(3) }),
        members: Some(Observed { at: NOON, what: members }),
        nodes: Some(Observed { at: NOON, what: views(nodes) }),
        latest: Some(sample(NOON - Duration::from_secs(1), 3.0)),
        ..Snapshot::default()
    };
    // The first cycle takes the fleet over.
    let taken = plan(&policy, &seen, &Memory::default(), &Learned::default(), NOON).memory;
    let Planned { report, memory, .. } = plan(&policy, &seen, &taken, &learned, NOON);
    let chosen = !memory.removals.is_empty();
    let no_room = report.holds.iter().any(|hold| matches!(hold, Hold::NoRoom { .. }));
    assert_ne!(chosen, no_room, "one or the other: {report}");
    chosen
}
