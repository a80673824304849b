//! How a fleet comes to its target: what it buys, and what it gives back by its own choice.

use crate::agenda::Due;
use crate::events::{FleetRecord, RecordType};
use crate::fleets::{instance_id, slot};
use crate::instances::InstanceData;
use crate::num::{micros, scaled, whole};
use crate::pools::{Candidate, first_to_go, rank};
use crate::rng::Rng;
use crate::spec::Delay;
use crate::world::{World, forks};
use fleet::{ExcessCapacity, FleetKind, Health, Market, vcpus_by_size};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long ago the instances that are there when a world begins are shown to have been launched: long enough that
/// nobody takes them for booting.
const SENIORITY: Duration = Duration::from_secs(6 * 3600);
/// The order in which a fleet sees to its two parts.
const MARKETS: [Market; 2] = [Market::OnDemand, Market::Spot];

/// The 95th percentile of the standard normal distribution.
const P95: f64 = 1.644_853_626_951_472_2;

impl Delay {
    /// Draws one.
    pub(crate) fn draw(self, chance: &mut Rng) -> Duration {
        match self {
            Self::Constant(delay) => delay,
            Self::Lognormal { median, p95 } => {
                let ratio = p95.as_secs_f64() / median.as_secs_f64();
                let sigma = if ratio.is_finite() && ratio > 1.0 { libm::log(ratio) / P95 } else { 0.0 };
                scaled(median, libm::exp(sigma * chance.normal()))
            }
        }
    }
    /// The usual one: what half of the draws do not exceed.
    pub(crate) const fn usual(self) -> Duration {
        match self {
            Self::Constant(delay) | Self::Lognormal { median: delay, .. } => delay,
        }
    }
}

/// How long an instance boots that is broken.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

impl World {
    /// Buys what is missing to the target: open requests count, each market for itself.
    ///
    /// What is lost above the target is not missing, so it is not replaced: that is all there is to
    /// `NoTermination`.
    pub(crate) fn replenish(&mut self, fleet: usize) {
        if self.fleets[fleet].buys() {
            self.fleets[fleet].short = false;
            for market in MARKETS {
                self.buy(fleet, market);
            }
            // Kinds other than `maintain` ask once.
            self.fleets[fleet].sated = self.fleets[fleet].request.kind != FleetKind::Maintain;
        }
        self.fleets[fleet].note_version(self.now);
    }

    fn buy(&mut self, fleet: usize, market: Market) {
        let mut reported = BTreeSet::new();
        while self.fleets[fleet].counted[slot(market)] < self.fleets[fleet].target_of(market) {
            let Some(choice) = self.choose(fleet, market, &mut reported) else {
                self.come_away_empty(fleet);
                return;
            };
            self.ask_for(fleet, choice);
        }
    }

    /// The first pool, in the strategy's order, that has anything to give. Those before it that have nothing are
    /// reported in the fleet's history, each once in `reported`.
    fn choose(&mut self, fleet: usize, market: Market, reported: &mut BTreeSet<usize>) -> Option<Candidate> {
        let offset = self.offset();
        let data = &self.fleets[fleet];
        let ranked = rank(data.request.strategy, market, &data.candidates, &self.pools, &data.held, offset);
        for candidate in ranked {
            if self.pools[candidate.pool].available(offset) > 0 {
                return Some(candidate);
            }
            if reported.insert(candidate.pool) {
                self.report_shortage(fleet, candidate.pool);
            }
        }
        None
    }

    /// No pool had anything: the fleet says so and tries again later.
    fn come_away_empty(&mut self, fleet: usize) {
        let retry = self.spec.timing.retry.max(Duration::from_secs(1));
        let data = &mut self.fleets[fleet];
        data.short = true;
        if !data.retries && data.request.kind == FleetKind::Maintain {
            data.retries = true;
            self.agenda.put(self.now + retry, Due::FleetRetries(fleet));
        }
    }

    pub(crate) fn report_shortage(&mut self, fleet: usize, pool: usize) {
        let state = &self.pools[pool];
        let (kind, market) =
            (&state.pool, if state.pool.market == Market::Spot { "Spot" } else { "On-Demand" });
        let image = &self.fleets[fleet].request.image;
        let description = format!(
            "{}, {image}, Linux/UNIX, {}: InsufficientInstanceCapacity: There is no {market} capacity available \
             that matches your request.",
            kind.instance_type, kind.zone
        );
        let record = FleetRecord {
            at: self.now,
            record_type: RecordType::Error,
            sub_type: "spotFleetRequestConfigurationInvalid",
            instance: None,
            no_capacity: Some((kind.clone(), state.spec.price)),
            description,
        };
        self.record(fleet, record, None);
    }

    /// Opens a request in a pool that has something to give.
    fn ask_for(&mut self, fleet: usize, choice: Candidate) -> u32 {
        let serial = self.next_serial;
        self.next_serial += 1;
        let mut chance = self.chance.fork(forks::INSTANCE, u64::from(serial));
        let id = instance_id(&mut chance);
        let timing = self.spec.timing;
        let boot = timing.boot.draw(&mut chance);
        let fulfilment = timing.fulfilment.draw(&mut chance).min(boot);
        let version = self.fleets[fleet].request.launch_template.1.parse();
        let boot = if version.is_ok_and(|version| self.broken.contains(&version)) { NEVER } else { boot };
        let state = &mut self.pools[choice.pool];
        let data = &mut self.fleets[fleet];
        let spec = &state.spec;
        let instance = InstanceData {
            id: id.clone(),
            fleet,
            pool: choice.pool,
            weight: choice.weight,
            power: spec.power.map_or(choice.weight, micros),
            vcpus: spec.vcpus.or_else(|| vcpus_by_size(&spec.instance_type)).unwrap_or(2),
            address: address(self.spec.first_address, serial),
            chance,
            health: Health::Healthy,
            tags: data.instance_tags().into(),
            fulfilment,
            boot,
            seniority: Duration::ZERO,
            counted: true,
            requested: self.now,
            created: None,
            running: None,
            in_service: None,
            drained: None,
            ended: None,
            terminated: None,
            interruption: None,
            noticed: None,
            recommended: None,
            scheduled: None,
        };
        data.members.push(serial);
        data.count(spec.market, choice.pool, choice.weight);
        state.used += 1;
        self.instances.insert(serial, instance);
        self.serials.insert(id, serial);
        self.agenda.put(self.now + fulfilment, Due::Fulfilled(serial));
        serial
    }

    /// Gives a fleet its initial capacity: in service at once, and shown to have been launched long ago.
    pub(crate) fn furnish(&mut self, fleet: usize, initial: u32) {
        let on_demand = self.fleets[fleet].on_demand_target.min(initial);
        for (market, wanted) in [(Market::OnDemand, on_demand), (Market::Spot, initial - on_demand)] {
            while self.fleets[fleet].counted[slot(market)] < whole(wanted) {
                let Some(choice) = self.choose(fleet, market, &mut BTreeSet::new()) else {
                    break;
                };
                let serial = self.ask_for(fleet, choice);
                if let Some(instance) = self.instances.get_mut(&serial) {
                    (instance.fulfilment, instance.boot) = (Duration::ZERO, Duration::ZERO);
                    instance.seniority = SENIORITY;
                }
                self.become_instance(serial);
                self.run(serial);
                self.serve(serial);
            }
        }
    }

    /// Comes down to a lowered target: open requests are cancelled first, the newest first, and, where the
    /// fleet's policy says so, instances of its own choice are given back. Never below the target.
    pub(crate) fn shrink(&mut self, fleet: usize) {
        for market in MARKETS {
            self.cancel_open(fleet, market);
            if self.fleets[fleet].excess == ExcessCapacity::Termination {
                self.give_back(fleet, market);
            }
        }
        self.fleets[fleet].note_version(self.now);
    }

    /// What a market's part has above its target, in millionths.
    fn excess(&self, fleet: usize, market: Market) -> i64 {
        let data = &self.fleets[fleet];
        data.counted[slot(market)] - data.target_of(market)
    }

    fn cancel_open(&mut self, fleet: usize, market: Market) {
        for serial in self.fleets[fleet].members.clone().into_iter().rev() {
            let excess = self.excess(fleet, market);
            let fits = self.instances.get(&serial).is_some_and(|instance| {
                let open = instance.created.is_none() && instance.ended.is_none();
                open && self.pools[instance.pool].spec.market == market && instance.weight <= excess
            });
            if fits {
                self.close_request(serial);
            }
        }
    }

    fn give_back(&mut self, fleet: usize, market: Market) {
        loop {
            let excess = self.excess(fleet, market);
            let data = &self.fleets[fleet];
            let mut serials = Vec::new();
            let mut choices = Vec::new();
            for serial in &data.members {
                let Some(instance) = self.instances.get(serial) else { continue };
                let mine = self.pools[instance.pool].spec.market == market;
                if mine && instance.is_alive() && instance.counted && instance.weight <= excess {
                    serials.push(*serial);
                    choices.push((instance.pool, instance.weight));
                }
            }
            let (strategy, offset) = (data.request.strategy, self.offset());
            let first = first_to_go(strategy, &choices, &self.pools, &data.held, offset);
            let Some(victim) = first.and_then(|first| serials.get(first).copied()) else {
                return;
            };
            self.let_go(victim);
        }
    }
}

/// The private address of an instance: the first one's, and on from there.
fn address(first: Ipv4Addr, serial: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits().wrapping_add(serial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lognormal_delay_has_the_median_and_the_percentile_that_it_names() {
        let (median, p95) = (Duration::from_secs(75), Duration::from_secs(150));
        let mut chance = Rng::new(3);
        let mut draws: Vec<_> =
            (0..20_001).map(|_| Delay::Lognormal { median, p95 }.draw(&mut chance).as_secs_f64()).collect();
        draws.sort_by(f64::total_cmp);
        let (half, twentieth) = (draws[10_000], draws[19_000]);
        assert!((half - 75.0).abs() < 1.5 && (twentieth - 150.0).abs() < 4.0, "{half} {twentieth}");
    }

    #[test]
    fn odd_delays_are_their_median() {
        let mut chance = Rng::new(3);
        for (median, p95) in [(90, 90), (90, 10), (0, 10)] {
            let (median, p95) = (Duration::from_secs(median), Duration::from_secs(p95));
            assert_eq!(Delay::Lognormal { median, p95 }.draw(&mut chance), median);
        }
    }

    #[test]
    fn addresses_follow_the_first() {
        let first = Ipv4Addr::new(127, 16, 0, 254);
        assert_eq!([address(first, 0), address(first, 2)], [first, Ipv4Addr::new(127, 16, 1, 0)]);
    }
}
