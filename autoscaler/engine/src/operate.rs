//! Operators' orders: each expires, survives a restart, and is journaled with who and why.

use crate::held::Held;
use crate::{BatchId, Command, CommandError, Effect, Engine, Now, Order, Override, Record};
use fleet::{FleetName, Utilization};
use std::time::Duration;

/// What is ordered for longer would be forgotten; what lasts for less was a slip.
const LASTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);

impl Engine {
    /// Takes an operator's order.
    ///
    /// * returns: the batch that has to be written before the order is safe (answer the operator then), and what
    ///   is to be done. Nothing has changed on an error.
    pub fn operate(&mut self, command: Command, now: Now) -> (Result<BatchId, CommandError>, Vec<Effect>) {
        self.note_time(now);
        let result = self.order(command, now);
        // The records of all that this event brings go out in one batch, which the order is part of.
        let batch = self.journal.next_batch();
        let mut effects = self.finish(now);
        if result.is_ok() && self.journal.next_batch() == batch {
            self.hand_out_empty(now);
            effects.append(&mut self.out);
        }
        (result.map(|()| batch), effects)
    }

    /// Checks an order and carries it out, for all fleets or for none.
    pub(crate) fn order(&mut self, command: Command, now: Now) -> Result<(), CommandError> {
        let Command { fleet, order, by, reason } = command;
        let names: Vec<FleetName> = match fleet {
            None => self.fleets.keys().cloned().collect(),
            Some(name) if self.fleets.contains_key(&name) => vec![name],
            Some(name) => {
                let nearest = self.nearest(&name);
                return Err(CommandError::UnknownFleet { name, nearest });
            }
        };
        for name in &names {
            self.check_order(name, &order, now)?;
        }
        for name in &names {
            let Some(held) = self.fleets.get_mut(name) else { continue };
            let command = Command {
                fleet: Some(name.clone()),
                order: order.clone(),
                by: by.clone(),
                reason: reason.clone(),
            };
            held.record(Record::Operator { at: now.wall, command });
            held.in_force = None;
            // What goes on, or begins, looks at its alarms at once.
            held.alarms_asked = None;
            self.write_soon(name, true);
            self.make_due(name, now);
        }
        Ok(())
    }

    fn check_order(&self, name: &FleetName, order: &Order, now: Now) -> Result<(), CommandError> {
        let Some(held) = self.fleets.get(name) else { return Ok(()) };
        match *order {
            Order::Rollout(ref order) => crate::rollouts::check(held, order),
            Order::Resume | Order::EndOverride => Ok(()),
            Order::Pause { lasts } => LASTS.contains(&lasts).then_some(()).ok_or(CommandError::Lasts),
            Order::Override { min, max, target, lasts } => {
                if !LASTS.contains(&lasts) {
                    return Err(CommandError::Lasts);
                }
                if min.is_none() && max.is_none() && target.is_none() {
                    return Err(CommandError::Empty);
                }
                let zero = [
                    ("min", min == Some(0)),
                    ("max", max == Some(0)),
                    ("target", target.is_some_and(|target| target <= Utilization::new(0.0))),
                ];
                if let Some((what, _)) = zero.into_iter().find(|(_, zero)| *zero) {
                    return Err(CommandError::Zero { what: what.to_owned() });
                }
                let capacity = held.policy.at(now.wall).0.capacity;
                let (min, max) = (min.unwrap_or(capacity.min), max.unwrap_or(capacity.max));
                if min > max {
                    return Err(CommandError::MinAboveMax { fleet: name.clone(), min, max });
                }
                Ok(())
            }
        }
    }

    /// The known name that shares the longest beginning with a misspelt one.
    fn nearest(&self, name: &FleetName) -> Option<FleetName> {
        let shared = |known: &FleetName| {
            known.as_str().chars().zip(name.as_str().chars()).take_while(|(a, b)| a == b).count()
        };
        self.fleets
            .keys()
            .map(|known| (shared(known), known))
            .filter(|(n, _)| *n > 0)
            .max_by_key(|(n, _)| *n)
            .map(|(_, known)| known.clone())
    }

    /// The override in force of a fleet.
    pub(crate) fn bent_of(held: &Held, now: Now) -> Option<Override> {
        held.state.bent.clone().filter(|bent| bent.until > now.wall)
    }
}
