//! What people and metrics are shown of a fleet.

use crate::held::{Held, WritePhase};
use crate::region::Streak;
use crate::{Engine, FailingOperation, FleetStatus, InstanceStatus, Now, WriteStatus};
use fleet::{FleetName, Region};

impl Engine {
    /// Reads that fail, by region, and then writes, by fleet.
    pub(crate) fn failing(&self) -> Vec<FailingOperation> {
        let reads = self.regions.iter().flat_map(|(region, state)| {
            let failing = state.failing.iter();
            failing.map(move |((operation, of), streak)| show_failing(operation, region, None, of, streak))
        });
        let writes = self.fleets.values().filter_map(|held| {
            let (operation, streak) = held.failing.as_ref()?;
            let region = held.region.as_ref()?;
            Some(show_failing(operation.label(), region, Some(&held.name), "", streak))
        });
        let anywhere = self.some_region();
        let services = self.services.failing.failing.iter();
        let services =
            services.map(|((operation, of), streak)| show_failing(operation, &anywhere, None, of, streak));
        reads.chain(services).chain(writes).collect()
    }

    pub(crate) fn show(&self, held: &Held, now: Now) -> FleetStatus {
        let state = &held.state;
        let view = state.fleet.as_ref().map(|seen| &seen.what);
        let instances = state.instances.values().map(|known| {
            let member = state.member(known, now.wall);
            InstanceStatus {
                id: member.id,
                pool: member.pool,
                weight: member.weight,
                power: member.power,
                phase: member.phase,
                since: member.since,
                health: member.health,
            }
        });
        let freshest = |source: &&autoscaler_policy::SourcePolicy| {
            held.is_fresh(source, self.config.push_fresh, now.monotonic)
        };
        FleetStatus {
            name: held.name.clone(),
            region: held.region.clone(),
            backend: held.policy.backend,
            selector: held.policy.selector.clone(),
            id: state.held.clone(),
            state: view.map(|view| view.state),
            target: view.map(|view| view.target),
            fulfilled: view.map(|view| view.fulfilled),
            min: state.policy.capacity.min,
            max: state.policy.capacity.max,
            seen: state.fleet.as_ref().map(|seen| seen.at),
            instances_seen: state.instances_at,
            instances: instances.collect(),
            source: held.policy.sources.iter().find(freshest).map(autoscaler_policy::SourcePolicy::source),
            schedules: held.schedules.clone(),
            pause: state.pause.clone().filter(|pause| pause.until > now.wall),
            bent: Self::bent_of(held, now),
            dry_run: state.policy.dry_run,
            observe_only: state.policy.observe_only,
            ceded: state.memory.ceded,
            writing: held.writing.as_ref().map(|writing| WriteStatus {
                operation: match (writing.phase, writing.steps.get(writing.step)) {
                    (WritePhase::Sent(_), Some((_, step))) => crate::Operation::of(step).label().to_owned(),
                    _ => "journal".to_owned(),
                },
                since: writing.since,
            }),
            decided: held.last.clone(),
            alarms: held.alarms.active(),
        }
    }
}

fn show_failing(
    operation: &str,
    region: &Region,
    fleet: Option<&FleetName>,
    of: &str,
    streak: &Streak,
) -> FailingOperation {
    let Streak { failures, since, began: _, next: _, error } = streak;
    FailingOperation {
        operation: operation.to_owned(),
        region: region.clone(),
        fleet: fleet.cloned(),
        of: (!of.is_empty()).then(|| of.to_owned()),
        since: *since,
        failures: *failures,
        class: error.class(),
        message: error.to_string(),
    }
}
