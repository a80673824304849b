//! A fleet's folded records in the shape that a running daemon tells a fleet in.

use autoscaler_core::Hold;
use autoscaler_engine::{ActiveAlarm, Alarm, Decided, FleetStatus, State};
use fleet::{Backend, FleetId, FleetName, FleetSelector, Timestamp};

/// What a fleet was like at `at`.
///
/// * `last`: its last decision.
pub(super) fn fleet(name: &FleetName, state: &State, last: Option<&Decided>, at: Timestamp) -> FleetStatus {
    let id = state.held.as_ref();
    let backend = state.fleet.as_ref().map_or_else(|| backend(id), |seen| seen.what.backend);
    // A journal does not hold how a policy names its fleet.
    let selector = FleetSelector::Id(id.cloned().unwrap_or_else(|| FleetId::new("not found yet")));
    FleetStatus {
        decided: last.cloned(),
        alarms: alarms(state, last, at),
        ..state.show(FleetStatus::unseen(name.clone(), backend, selector), at)
    }
}

fn backend(id: Option<&FleetId>) -> Backend {
    match id {
        Some(id) if id.as_str().starts_with("fleet-") => Backend::Ec2Fleet,
        _ => Backend::SpotFleet,
    }
}

/// What was wrong, as far as records tell: alarms themselves are not recorded, what they follow from partly is.
fn alarms(state: &State, last: Option<&Decided>, at: Timestamp) -> Vec<ActiveAlarm> {
    let mut alarms = Vec::new();
    if state.memory.ceded {
        let foreign_writes = state.memory.foreign_writes;
        let since = state.memory.foreign_write_at.unwrap_or(at);
        alarms.push(ActiveAlarm { since, alarm: Alarm::Ceded { foreign_writes } });
    }
    if let Some(decided) = last {
        for hold in &decided.report.holds {
            if let Hold::NotHoldable { why } = hold {
                alarms.push(ActiveAlarm { since: decided.at, alarm: Alarm::NotHoldable { why: *why } });
            }
        }
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscaler_core::{Memory, Pause, Plan, Report, Unholdable};
    use autoscaler_engine::Override;

    #[test]
    fn orders_alarms_and_the_last_decision_are_told_as_a_daemon_tells_them() {
        let at = Timestamp::from_secs(1_800_000_000);
        let minutes = |number: u32| std::time::Duration::from_secs(60) * number;
        let pause = |until| Pause { until, by: "jo".into(), reason: "failover".into() };
        let bent = Override {
            min: Some(6),
            max: None,
            target: None,
            until: at + minutes(1),
            by: "ann".into(),
            reason: "launch".into(),
        };
        let mut state = State {
            held: Some(FleetId::new("fleet-1")),
            pause: Some(pause(at + minutes(5))),
            bent: Some(bent.clone()),
            memory: Memory {
                ceded: true,
                foreign_writes: 2,
                foreign_write_at: Some(at - minutes(9)),
                ..Memory::default()
            },
            ..State::default()
        };
        state.policy.capacity.min = 6;
        let report =
            Report { holds: vec![Hold::NotHoldable { why: Unholdable::AsksOnce }], ..Report::default() };
        let last = Decided { at: at - minutes(1), plan: Plan::default(), withheld: None, report };
        let name = FleetName::new("web");
        let told = fleet(&name, &state, Some(&last), at);
        assert_eq!((told.min, told.backend, told.ceded), (6, Backend::Ec2Fleet, true));
        assert_eq!(
            (told.pause, told.bent, told.decided),
            (state.pause.clone(), Some(bent), Some(last.clone()))
        );
        assert_eq!(
            told.alarms,
            [
                ActiveAlarm { since: at - minutes(9), alarm: Alarm::Ceded { foreign_writes: 2 } },
                ActiveAlarm { since: last.at, alarm: Alarm::NotHoldable { why: Unholdable::AsksOnce } },
            ]
        );
        let later = fleet(&name, &state, None, at + minutes(6));
        assert_eq!((later.pause, later.bent), (None, None), "what has ended is not in force");
    }
}
