//! Rules between the fields of a world file.

use super::draft::{FleetDraft, LoadDraft, WorldDraft, pool_of};
use fleet::{Backend, InstanceType, Market, Pool};
use fleet_sim::PoolSpec;
use muster_hcl::{Places, Problems, nearest};

/// Checks every rule; where a value has a problem already, the rules about it say nothing.
pub(super) fn check(world: &WorldDraft, places: &Places, problems: &mut Problems) {
    let mut rules = Rules { world, places, problems };
    rules.pools();
    for fleet in &world.fleets {
        rules.fleet(fleet);
    }
    rules.ids();
    rules.scripts();
    rules.load(&world.load, "load");
    rules.boot();
}

struct Rules<'a> {
    world: &'a WorldDraft,
    places: &'a Places,
    problems: &'a mut Problems,
}

impl Rules<'_> {
    fn error(&mut self, path: &str, message: &str, expected: &str) {
        if self.places.is_sound(path) {
            self.problems.push(self.places.error(path, message).expected(expected));
        }
    }

    /// The pools that there will be: the file's, or the default ones.
    fn known_pools(&self) -> Vec<Pool> {
        if self.world.pools.is_empty() {
            self.world.spec.pools.iter().map(PoolSpec::pool).collect()
        } else {
            self.world.pools.iter().map(|pool| pool.spec.pool()).collect()
        }
    }

    fn pools(&mut self) {
        let region = self.world.spec.region.as_str();
        for pool in &self.world.pools {
            let path = format!("pool.{}", pool.name);
            let zone = pool.spec.zone.as_str();
            if !zone.is_empty() && !zone.starts_with(region) && self.places.is_sound("region") {
                let message = format!("{} is not a zone of {region}", pool.spec.zone);
                // About the label alone, whatever is wrong within the block.
                let problem =
                    self.places.error(&path, message).expected(format!("a zone such as \"{region}a\""));
                self.problems.push(problem);
            }
            for window in &pool.windows {
                let path = format!("{path}.window.{}", window.name);
                if window.window.until <= window.window.from {
                    self.error(&format!("{path}.until"), "is not after `from`", "a later time");
                }
            }
        }
    }

    fn fleet(&mut self, fleet: &FleetDraft) {
        let path = format!("fleet.{}", fleet.name);
        let prefix = match fleet.request.backend {
            Backend::SpotFleet => "sfr-",
            Backend::Ec2Fleet => "fleet-",
        };
        if let Some(id) = &fleet.id
            && !id.starts_with(prefix)
        {
            let message = format!("is not an id of the backend `{}`", fleet.request.backend);
            self.error(&format!("{path}.id"), &message, &format!("an id that begins with \"{prefix}\""));
        }
        let types: Vec<InstanceType> =
            self.known_pools().into_iter().map(|pool| pool.instance_type).collect();
        for of in fleet.weights.keys() {
            if !types.iter().any(|known| known.as_str() == of) {
                let message = format!("no pool has the type \"{of}\"");
                let expected = match nearest(of, types.iter().map(InstanceType::as_str)) {
                    Some(near) => format!("a type of a pool, such as \"{near}\""),
                    None => "a type of a pool".to_owned(),
                };
                self.error(&format!("{path}.weights"), &message, &expected);
            }
        }
        let on_demand = fleet.request.on_demand_target;
        if fleet.initial.is_some_and(|target| on_demand > target) {
            self.error(&format!("{path}.on_demand_target"), "is above `target`", "at most the whole target");
        }
        if on_demand > 0 && !self.known_pools().iter().any(|pool| pool.market == Market::OnDemand) {
            let expected = "a pool such as \"m5.large/eu-west-1a/on-demand\"";
            self.error(&format!("{path}.on_demand_target"), "there is no on-demand pool", expected);
        }
        self.load(&fleet.load, &format!("{path}.load"));
    }

    /// No two fleets may have one id.
    fn ids(&mut self) {
        let fleets = &self.world.fleets;
        for (index, fleet) in fleets.iter().enumerate() {
            let same = fleets[..index].iter().find(|other| other.id.is_some() && other.id == fleet.id);
            if let Some(other) = same {
                let message = format!("is the id of fleet \"{}\", too", other.name);
                self.error(&format!("fleet.{}.id", fleet.name), &message, "an id of its own, or none");
            }
        }
    }

    fn scripts(&mut self) {
        let known: Vec<String> = self.known_pools().iter().map(Pool::to_string).collect();
        for script in &self.world.scripts {
            if pool_of(&script.pool).is_some() && !known.contains(&script.pool) {
                let expected = format!("one of {}", known.join(", "));
                self.error(&format!("interrupt.{}.pool", script.name), "there is no such pool", &expected);
            }
        }
    }

    fn load(&mut self, load: &LoadDraft, path: &str) {
        if load.demand.is_some() && load.trace.is_some() {
            self.error(&format!("{path}.trace"), "stands beside `demand`", "either `demand` or `trace`");
        }
        if load.scale.is_some() && load.trace.is_none() {
            self.error(&format!("{path}.scale"), "stands without a `trace`", "a `trace` that it multiplies");
        }
    }

    fn boot(&mut self) {
        if self.world.boot.p95.is_some_and(|p95| p95 < self.world.boot.median) {
            self.error("timing.boot_p95", "is below `boot`", "at least the median");
        }
    }
}
