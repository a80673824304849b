//! What people and metrics are shown of a fleet.

use crate::held::{Held, WritePhase};
use crate::region::Streak;
use crate::{
    Engine, FailingOperation, FleetStatus, Going, GoingStep, InstanceStatus, Known, NodeStatus, Now,
    PoolStatus, StandIn, State, WriteStatus,
};
use autoscaler_core::{DrainCause, Fallback, Member, Phase, PoolTrouble, Prices, TroubleKind, cost_of};
use fleet::{FleetName, Market, Region, Timestamp, UsdPerHour};

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
        let freshest = |source: &&autoscaler_policy::SourcePolicy| {
            held.is_fresh(source, self.config.push_fresh, now.monotonic)
        };
        let (backend, selector) = (held.policy.backend, held.policy.selector.clone());
        FleetStatus {
            region: held.region.clone(),
            source: held.policy.sources.iter().find(freshest).map(autoscaler_policy::SourcePolicy::source),
            schedules: held.schedules.clone(),
            bent: Self::bent_of(held, now),
            writing: held.writing.as_ref().map(|writing| WriteStatus {
                operation: match (writing.phase, writing.steps.get(writing.step)) {
                    (WritePhase::Sent(_), Some((_, step))) => crate::Operation::of(step).label().to_owned(),
                    _ => "journal".to_owned(),
                },
                since: writing.since,
            }),
            decided: held.last.clone(),
            alarms: held.alarms.active(),
            ..state.show(FleetStatus::unseen(held.name.clone(), backend, selector), now.wall)
        }
    }
}

impl State {
    /// What the records of a fleet tell of it. Schedules, a write under way, the last decision and alarms are not
    /// among that.
    ///
    /// * `of`: who it is, and what else is known of it.
    pub fn show(&self, of: FleetStatus, now: Timestamp) -> FleetStatus {
        let view = self.fleet.as_ref().map(|seen| &seen.what);
        FleetStatus {
            id: self.held.clone(),
            state: view.map(|view| view.state),
            target: view.map(|view| view.target),
            fulfilled: view.map(|view| view.fulfilled),
            min: self.policy.capacity.min,
            max: self.policy.capacity.max,
            seen: self.fleet.as_ref().map(|seen| seen.at),
            instances_seen: self.instances_at,
            instances: self.instances.values().map(|known| self.show_instance(known, now)).collect(),
            source: self.latest.map(|sample| sample.source),
            pause: self.pause.clone().filter(|pause| pause.until > now),
            bent: self.bent.clone().filter(|bent| bent.until > now),
            dry_run: self.policy.dry_run,
            observe_only: self.policy.observe_only,
            ceded: self.memory.ceded,
            going: self.show_going(),
            pools: self.show_pools(now),
            fallback: self.memory.fallback.map(|fallback| self.show_fallback(fallback, now)),
            launch: self.launches(),
            rollout: self.show_rollout(now),
            watches: self.policy.rollout.watched().to_vec(),
            ..of
        }
    }

    fn show_instance(&self, known: &Known, now: Timestamp) -> InstanceStatus {
        let member = self.member(known, now);
        let node = self.node_of(&member.id).map(|node| NodeStatus {
            eligible: node.eligible,
            draining: node.draining,
            allocations: node.work.len(),
        });
        InstanceStatus {
            id: member.id,
            pool: member.pool,
            weight: member.weight,
            power: member.power,
            phase: member.phase,
            since: member.since,
            health: member.health,
            protected: member.protected,
            launch: member.launch,
            node,
        }
    }

    fn show_going(&self) -> Vec<Going> {
        let replaced = self.memory.replacements.iter().map(|(instance, entry)| Going {
            instance: instance.clone(),
            step: GoingStep::Replacement(entry.step),
            since: entry.since,
            cause: DrainCause::Replaced(entry.cause),
            drain_until: entry.drain_until,
            deadline: entry.deadline,
        });
        let removed = self.memory.removals.iter().map(|(instance, entry)| Going {
            instance: instance.clone(),
            step: GoingStep::Removal(entry.step),
            since: entry.since,
            cause: entry.cause,
            drain_until: entry.drain_until,
            deadline: entry.deadline,
        });
        let mut going: Vec<Going> = replaced.chain(removed).collect();
        going.sort_by(|a, b| a.instance.cmp(&b.instance));
        going
    }

    fn show_pools(&self, now: Timestamp) -> Vec<PoolStatus> {
        let half_life = self.policy.interruption.avoid_pool;
        let pools = self.memory.pools.iter().map(|entry| {
            let left = entry.left(now, half_life);
            let last = |trouble: &&PoolTrouble| trouble.pool == entry.pool && trouble.at == entry.at;
            // A notice is told in the counts alone.
            let noticed = (entry.refused == 0.0).then_some(TroubleKind::Interrupted);
            PoolStatus {
                pool: entry.pool.clone(),
                interrupted: entry.interrupted * left,
                refused: entry.refused * left,
                last_at: entry.at,
                last: self.troubles_told.iter().find(last).map(|trouble| trouble.kind).or(noticed),
            }
        });
        pools.collect()
    }

    fn show_fallback(&self, fallback: Fallback, now: Timestamp) -> StandIn {
        let Fallback { units, since, tried } = fallback;
        let alive: Vec<Member> = self
            .instances
            .values()
            .map(|known| self.member(known, now))
            .filter(|member| member.phase != Phase::Leaving)
            .collect();
        let prices = Prices { seen: &self.prices, on_demand: &self.policy.on_demand.prices };
        let cost = |market| cost_of(units, market, alive.iter(), prices);
        let (dear, cheap) = (cost(Market::OnDemand), cost(Market::Spot));
        let more = |(dear, cheap): (UsdPerHour, UsdPerHour)| dear.micros().saturating_sub(cheap.micros());
        let extra = dear.zip(cheap).map(more).map(UsdPerHour::from_micros);
        StandIn { units, since, tried, cost: dear, extra }
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

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
