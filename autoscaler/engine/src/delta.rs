//! What has changed between two answers of the cloud: the smallest records that say it.

use crate::{FleetDelta, InstanceSeen, State};
use autoscaler_core::Protect;
use fleet::{FleetView, Instance, InstanceId, InstanceState, LaunchTemplate, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// Instances with this tag set to `true` are never removed by us.
pub(crate) const PROTECTED_TAG: &str = "muster:protected";
/// An instance that describes do not show is given up after this long, and not before the second of them: they
/// have been seen to lag by 30 s, each behind another.
const GONE_AFTER: Duration = Duration::from_secs(45);

impl FleetDelta {
    /// What `view` shows beyond what was seen before.
    pub fn between(before: Option<&FleetView>, view: &FleetView) -> Self {
        let Some(before) = before else { return Self::Whole(Box::new(view.clone())) };
        if before == view {
            return Self::Same;
        }
        let FleetView { state, activity, target, on_demand_target, fulfilled, excess, .. } = *view;
        let moved =
            FleetView { state, activity, target, on_demand_target, fulfilled, excess, ..before.clone() };
        if moved == *view {
            Self::Moved { state, activity, target, on_demand_target, fulfilled, excess }
        } else {
            Self::Whole(Box::new(view.clone()))
        }
    }
}

impl InstanceSeen {
    /// What is kept of an instance.
    ///
    /// * `taken`: those that autoscalers run on; `protect`: whom the policy protects by tags.
    pub fn of(instance: &Instance, taken: &BTreeSet<InstanceId>, protect: &Protect) -> Self {
        let Instance { id, fleet: _, pool, state, ended_by: _, health, launched, vcpus, private_ip, tags } =
            instance;
        let tagged = tags.get(PROTECTED_TAG).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Self {
            id: id.clone(),
            pool: pool.clone(),
            state: *state,
            health: *health,
            launched: *launched,
            vcpus: *vcpus,
            private_ip: *private_ip,
            protected: tagged || taken.contains(id) || protect.is_tagged(tags),
            launch: LaunchTemplate::of_tags(tags),
        }
    }
}

/// What a describe of a fleet's instances has changed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct InstancesDelta {
    /// New ones, and those that changed.
    pub seen: Vec<InstanceSeen>,
    /// Known ones that it did not show.
    pub missing: Vec<InstanceId>,
    /// Known ones that are no more.
    pub gone: Vec<InstanceId>,
}

impl InstancesDelta {
    /// Compares what a describe showed, asked at `at`, with what was known.
    ///
    /// EC2 is eventually consistent: an instance that ran and is not shown may be back in the next answer. It is
    /// gone when it was leaving anyway, or when a second describe, late enough, does not show it either.
    pub fn between(state: &State, shown: Vec<InstanceSeen>, at: Timestamp) -> Self {
        let mut delta = Self::default();
        let ids: BTreeSet<InstanceId> = shown.iter().map(|instance| instance.id.clone()).collect();
        for instance in shown {
            let known = state.instances.get(&instance.id);
            if instance.state == InstanceState::Terminated {
                if known.is_some() {
                    delta.gone.push(instance.id);
                }
            } else if known.is_some_and(|known| is_older(&known.seen, &instance)) {
                // A source was faster than the describe.
            } else if known.is_none_or(|known| known.seen != instance || known.missing_since.is_some()) {
                delta.seen.push(instance);
            }
        }
        for (id, known) in state.instances.iter().filter(|(id, _)| !ids.contains(*id)) {
            let leaving = !matches!(known.seen.state, InstanceState::Pending | InstanceState::Running);
            match known.missing_since {
                _ if leaving => delta.gone.push(id.clone()),
                Some(since) if at.since(since) >= GONE_AFTER => delta.gone.push(id.clone()),
                Some(_) => {}
                None => delta.missing.push(id.clone()),
            }
        }
        delta
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        let Self { seen, missing, gone } = self;
        seen.is_empty() && missing.is_empty() && gone.is_empty()
    }
}

/// Whether a describe shows an instance as it was before what is known: none that shuts down runs again.
fn is_older(known: &InstanceSeen, shown: &InstanceSeen) -> bool {
    known.state == InstanceState::ShuttingDown
        && matches!(shown.state, InstanceState::Pending | InstanceState::Running)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;
    use fleet::{Health, Pool};

    fn seen(id: &str, state: InstanceState) -> InstanceSeen {
        InstanceSeen {
            id: id.into(),
            pool: Pool::spot("m5.large", "eu-west-1a"),
            state,
            health: Health::Healthy,
            launched: Timestamp::from_secs(0),
            vcpus: Some(2),
            private_ip: None,
            protected: false,
            launch: None,
        }
    }

    fn describe(state: &mut State, at: i64, shown: &[(&str, InstanceState)]) -> InstancesDelta {
        let shown = shown.iter().map(|(id, state)| seen(id, *state)).collect();
        let at = Timestamp::from_secs(at);
        let delta = InstancesDelta::between(state, shown, at);
        let InstancesDelta { seen, missing, gone } = &delta;
        let (seen, missing, gone) = (seen.clone(), missing.clone(), gone.clone());
        state.apply(&Record::Instances { at, seen, missing, gone });
        delta
    }

    #[test]
    fn one_describe_that_does_not_show_a_running_instance_does_not_end_it() {
        use InstanceState::{Running, ShuttingDown, Terminated};
        let mut state = State::default();
        describe(&mut state, 0, &[("i-1", Running), ("i-2", Running), ("i-3", Running)]);
        assert!(describe(&mut state, 10, &[("i-1", Running), ("i-2", Running), ("i-3", Running)]).is_empty());
        assert_eq!(
            describe(&mut state, 20, &[("i-1", Running), ("i-3", ShuttingDown)]).missing,
            ["i-2".into()]
        );
        assert_eq!(state.instances.len(), 3);
        let third = describe(&mut state, 30, &[("i-1", Running)]);
        assert_eq!(third.gone, ["i-3".into()], "one that was leaving is gone at once");
        assert_eq!(
            describe(&mut state, 40, &[("i-1", Running), ("i-2", Running)]).seen.len(),
            1,
            "it is back"
        );
        describe(&mut state, 50, &[("i-1", Running)]);
        assert!(describe(&mut state, 60, &[("i-1", Running)]).gone.is_empty());
        assert_eq!(describe(&mut state, 95, &[("i-1", Running)]).gone, ["i-2".into()]);
        assert_eq!(describe(&mut state, 100, &[("i-1", Terminated)]).gone, ["i-1".into()]);
        assert_eq!(state.instances.len(), 0);
    }
}
