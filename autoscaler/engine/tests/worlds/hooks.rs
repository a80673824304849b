//! An operator's own way to empty nodes, and what is remembered of it.

use autoscaler_core::{DrainCause, Removal, RemovalStep};
use autoscaler_engine::{Record, State};
use fleet::{InstanceId, Market, Timestamp, Weight};

const NOON: Timestamp = Timestamp::from_secs(1_790_000_400);

fn removal() -> Removal {
    Removal {
        step: RemovalStep::Draining,
        since: NOON,
        weight: Weight::new(1.0),
        market: Market::Spot,
        cause: DrainCause::ScaleIn,
        drain_until: Some(NOON),
        deadline: None,
    }
}

#[test]
fn a_kept_hook_victim_is_emptied_anew() {
    let victim = InstanceId::from("i-1");
    let mut state = State::default();
    state.memory.removals.insert(victim.clone(), removal());
    state.apply(&Record::Emptied { instance: victim.clone(), at: NOON });
    let emptied = |state: &mut State| state.begin_cycle(NOON).expect("a snapshot").emptied;
    assert_eq!(emptied(&mut state), std::slice::from_ref(&victim));
    state.memory.removals.clear();
    assert_eq!(emptied(&mut state), []);
    state.memory.removals.insert(victim, removal());
    assert_eq!(emptied(&mut state), [], "that was another time");
}
