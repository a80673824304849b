//! The judge: knows the world as it really is, and nothing of how the engine works.

use autoscaler_engine::Write;
use autoscaler_policy::FleetPolicy;
use fleet::{FleetRef, FleetSelector, FleetState, InstanceId, Market, Timestamp};
use fleet_sim::{InstancePhase, InstanceTruth, World};
use std::collections::BTreeMap;

/// What has been done so far, and what was wrong about it.
#[derive(Debug, Default)]
pub struct Truth {
    /// Modifications that were sent, as (fleet, target).
    pub modifications: Vec<(String, u32)>,
    /// How often each instance was told to go.
    pub terminations: BTreeMap<InstanceId, u32>,
    /// How often anybody was told.
    pub termination_calls: usize,
    /// Bounds of the policies in force, where a test bends them.
    pub bounds: Option<(u32, u32)>,
    /// Whether somebody else writes, too: then the target is theirs as well.
    pub others_write: bool,
    /// Until when a write may have been forgotten: a process died that could not journal it. A second one is then
    /// refused by EC2, and does no harm.
    pub forgotten_until: Option<Timestamp>,
    complaints: Vec<String>,
}

fn policy_of<'a>(policies: &'a [FleetPolicy], fleet: &FleetRef) -> Option<&'a FleetPolicy> {
    policies.iter().find(|policy| policy.selector == FleetSelector::Id(fleet.id.clone()))
}

fn is_alive(instance: &InstanceTruth) -> bool {
    instance.phase != InstancePhase::Gone
}

impl Truth {
    /// Judges a write at the moment in which it is sent.
    pub fn judge(&mut self, world: &World, policies: &[FleetPolicy], write: &Write) {
        match write {
            Write::Modify { fleet, change } => {
                self.modifications.push((fleet.id.as_str().to_owned(), change.target));
                match policy_of(policies, fleet) {
                    None => self.complain(world, &format!("modified {}, which nobody gave us", fleet.id)),
                    Some(policy) => {
                        let capacity = policy.base.capacity;
                        let (min, max) = self.bounds.unwrap_or((capacity.min, capacity.max));
                        if !(min..=max).contains(&change.target) {
                            let target = change.target;
                            self.complain(world, &format!("CAP: target {target} outside {min}..={max}"));
                        }
                    }
                }
                let busy = state_of(world, fleet) == Some(FleetState::Modifying);
                let forgotten = self.forgotten_until.is_some_and(|until| world.now() < until);
                if busy && !self.others_write && !forgotten {
                    self.complain(world, &format!("MODIFY: {} is being modified", fleet.id));
                }
            }
            Write::Terminate { fleet, instances } => {
                self.termination_calls += 1;
                for instance in instances {
                    *self.terminations.entry(instance.clone()).or_default() += 1;
                }
                self.judge_terminations(world, fleet, instances);
            }
        }
    }

    /// OWN and ONCE: the victims are the fleet's, and the fleet will not buy others in their place.
    fn judge_terminations(&mut self, world: &World, fleet: &FleetRef, instances: &[InstanceId]) {
        let members = world.instance_truths(&fleet.id);
        for instance in instances {
            if !members.iter().any(|member| member.id == *instance) {
                self.complain(world, &format!("OWN: {instance} is not of {}", fleet.id));
            }
        }
        let stays: f64 = members
            .iter()
            .filter(|member| is_alive(member))
            .filter(|member| !instances.contains(&member.id))
            .filter(|member| member.pool.market == Market::Spot)
            .map(|member| member.weight.get())
            .sum();
        let target = world.truth(&fleet.id).map_or(0, |truth| truth.target);
        let hits =
            members.iter().filter(|member| is_alive(member)).any(|member| instances.contains(&member.id));
        if hits && stays < f64::from(target) - 1e-6 {
            self.complain(world, &format!("ONCE: {stays} units would stay where {target} are asked for"));
        }
    }

    /// Looks at the world after every step.
    pub fn watch(&mut self, world: &World, policies: &[FleetPolicy]) {
        for fleet in world.fleets() {
            let Some(policy) = policy_of(policies, &fleet) else { continue };
            let Some(truth) = world.truth(&fleet.id) else { continue };
            let max = self.bounds.map_or(policy.base.capacity.max, |(_, max)| max);
            let asked = self.modifications.iter().any(|(id, _)| *id == fleet.id.as_str());
            if asked && truth.target > max && !self.others_write {
                self.complain(
                    world,
                    &format!("CAP: {} asks for {} of at most {max}", fleet.id, truth.target),
                );
            }
        }
    }

    fn complain(&mut self, world: &World, what: &str) {
        let at = world.now().since(world.start());
        self.complaints.push(format!("after {} s: {what}", at.as_secs()));
    }

    /// Nothing was wrong.
    pub fn assert_clean(&self) {
        let complaints = &self.complaints;
        assert!(complaints.is_empty(), "{} complaints, first: {:?}", complaints.len(), complaints.first());
    }
}

/// The state of a fleet as it really is: describes may lag.
fn state_of(world: &World, fleet: &FleetRef) -> Option<FleetState> {
    let mut now = world.clone();
    now.set_describe_lag(std::time::Duration::ZERO);
    now.shown_fleets(fleet.backend).into_iter().find(|view| view.id == fleet.id).map(|view| view.state)
}
