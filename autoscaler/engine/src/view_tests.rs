use super::*;
use crate::InstanceSeen;
use autoscaler_core::{PoolMemory, Removal, RemovalStep, Replacement, ReplacementCause, ReplacementStep};
use fleet::{Backend, FleetSelector, Health, InstanceState, NoticeKind, Pool, Weight};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const AT: Timestamp = Timestamp::from_secs(1_800_000_000);

fn before(seconds: u64) -> Timestamp {
    AT - Duration::from_secs(seconds)
}

fn after(seconds: u64) -> Timestamp {
    AT + Duration::from_secs(seconds)
}

/// What people are shown of a state.
fn shown(state: &State) -> FleetStatus {
    state.show(FleetStatus::unseen("web".into(), Backend::SpotFleet, FleetSelector::Id("sfr-1".into())), AT)
}

/// The same as it goes over HTTP; what is read there is what was written.
fn wire(status: &FleetStatus) -> Value {
    let value = serde_json::to_value(status).expect("it is plain data");
    let read: FleetStatus = serde_json::from_value(value.clone()).expect("what was written is read");
    assert_eq!(&read, status);
    value
}

#[test]
fn who_goes_is_shown_by_id_with_step_cause_and_times() {
    let mut state = State::default();
    let replacement = Replacement {
        cause: ReplacementCause::Notice(NoticeKind::SpotInterruption),
        step: ReplacementStep::Raised,
        since: before(20),
        weight: Weight::new(1.0),
        market: Market::Spot,
        drain_until: None,
        deadline: Some(after(100)),
    };
    let removal = Removal {
        step: RemovalStep::Draining,
        since: before(40),
        weight: Weight::new(1.0),
        market: Market::Spot,
        cause: DrainCause::ScaleIn,
        drain_until: Some(after(80)),
        deadline: None,
    };
    state.memory.replacements.insert("i-9".into(), replacement);
    state.memory.removals.insert("i-1".into(), removal);
    assert_eq!(
        wire(&shown(&state))["going"],
        json!([
            {
                "instance": "i-1", "step": {"removal": "draining"}, "since": 1_799_999_960_000_u64,
                "cause": "scale_in", "drain_until": 1_800_000_080_000_u64, "deadline": null
            },
            {
                "instance": "i-9", "step": {"replacement": "raised"}, "since": 1_799_999_980_000_u64,
                "cause": {"replaced": {"notice": "spot_interruption"}}, "drain_until": null,
                "deadline": 1_800_000_100_000_u64
            },
        ])
    );
    assert_eq!(wire(&shown(&State::default()))["going"], json!([]));
}

#[test]
fn what_is_held_against_a_pool_is_shown_as_it_has_faded_and_with_what_it_did_last() {
    let mut state = State::default();
    let pool = |zone| Pool::spot("m5.large", zone);
    let half_life = state.policy.interruption.avoid_pool;
    let held = |zone, interrupted, refused, at| PoolMemory {
        pool: pool(zone),
        interrupted,
        refused,
        at,
        told: BTreeMap::new(),
    };
    state.memory.pools = vec![
        held("eu-west-1a", 2.0, 0.0, AT - half_life),
        held("eu-west-1b", 0.0, 4.0, AT - 2 * half_life),
        held("eu-west-1c", 1.0, 1.0, before(5)),
    ];
    let told = |zone, kind, at| PoolTrouble { pool: pool(zone), at, kind, instance: None };
    state.troubles_told = vec![
        told("eu-west-1b", TroubleKind::LaunchFailed, AT - 3 * half_life),
        told("eu-west-1b", TroubleKind::NoCapacity, AT - 2 * half_life),
    ];
    let status = shown(&state);
    let pools: Vec<_> = status.pools.iter().map(|pool| (pool.interrupted, pool.refused, pool.last)).collect();
    assert_eq!(pools[0], (1.0, 0.0, Some(TroubleKind::Interrupted)), "a notice is told in the count alone");
    assert_eq!(pools[1], (0.0, 1.0, Some(TroubleKind::NoCapacity)), "the newest of them");
    assert_eq!(pools[2].2, None, "nobody knows any more which of the two it was");
    assert!(pools[2].0 > 0.99, "{}", pools[2].0);
    let first = &wire(&status)["pools"][0];
    assert_eq!(first["pool"], json!({"instance_type": "m5.large", "zone": "eu-west-1a", "market": "spot"}));
    assert_eq!((&first["interrupted"], &first["last"]), (&json!(1.0), &json!("interrupted")));
}

fn known(id: &str, market: Market, state: InstanceState) -> Known {
    let pool = Pool { market, ..Pool::spot("m5.large", "eu-west-1a") };
    let seen = InstanceSeen {
        id: id.into(),
        pool,
        state,
        health: Health::Healthy,
        launched: before(3600),
        vcpus: Some(2),
        private_ip: None,
        launch: None,
        protected: false,
    };
    Known { seen, state_since: before(3600), serves_since: Some(before(3500)), missing_since: None }
}

#[test]
fn what_stands_in_for_spot_is_shown_with_what_it_costs_and_costs_more_where_prices_are_known() {
    let mut state = State::default();
    state.memory.fallback = Some(Fallback { units: 3, since: before(600), tried: Some(before(60)) });
    for (id, market, stage) in [
        ("i-1", Market::Spot, InstanceState::Running),
        ("i-2", Market::OnDemand, InstanceState::Running),
        // Who leaves says nothing of what is bought.
        ("i-3", Market::OnDemand, InstanceState::ShuttingDown),
    ] {
        state.instances.insert(id.into(), known(id, market, stage));
    }
    let unpriced = wire(&shown(&state))["fallback"].clone();
    assert_eq!(
        (&unpriced["units"], &unpriced["cost"], &unpriced["extra"]),
        (&json!(3), &json!(null), &json!(null))
    );

    let pool = |market| Pool { market, ..Pool::spot("m5.large", "eu-west-1a") };
    state.prices = vec![
        (pool(Market::OnDemand), UsdPerHour::from_micros(107_000)),
        (pool(Market::Spot), UsdPerHour::from_micros(40_000)),
    ];
    assert_eq!(
        wire(&shown(&state))["fallback"],
        json!({
            "units": 3, "since": 1_799_999_400_000_u64, "tried": 1_799_999_940_000_u64,
            "cost": 321_000, "extra": 201_000
        })
    );
    // What the policy says holds where nobody has read it, for on demand alone.
    state.policy.on_demand.prices = [("m5.large".into(), UsdPerHour::from_micros(96_000))].into();
    assert_eq!(wire(&shown(&state))["fallback"]["cost"], json!(321_000), "what was read goes first");
    state.prices.remove(0);
    let of_policy = wire(&shown(&state))["fallback"].clone();
    assert_eq!((&of_policy["cost"], &of_policy["extra"]), (&json!(288_000), &json!(168_000)));
    state.prices.clear();
    let of_policy = wire(&shown(&state))["fallback"].clone();
    assert_eq!((&of_policy["cost"], &of_policy["extra"]), (&json!(288_000), &json!(null)));
    state.memory.fallback = None;
    assert_eq!(wire(&shown(&state))["fallback"], json!(null));
}
