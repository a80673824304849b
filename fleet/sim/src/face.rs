//! The EC2 face of the world.
//!
//! Every method counts the call under its caller's name, refuses it where EC2's rates or a fault say so, and
//! answers in the model's types. Errors carry EC2's codes.

use crate::agenda::Due;
use crate::calls::Action;
use crate::demand::Demand;
use crate::events::{FleetChange, FleetRecord};
use crate::fleets::{Deletion, FleetData, ModifyFleet};
use crate::instances::InstanceData;
use crate::metrics::{Metric, MetricPoints, Minute};
use crate::spec::FleetRequest;
use crate::world::World;
use fleet::{
    ApiError, Backend, ErrorClass, FleetId, FleetKind, FleetRef, FleetState, FleetView, Instance, InstanceId,
    InstanceState, InstanceType, Market, Offering, Override, Timestamp,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What became of an instance that was told to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminated {
    /// Which one.
    pub instance: InstanceId,
    /// Its state before.
    pub previous: InstanceState,
    /// Its state now.
    pub current: InstanceState,
}

/// What EC2 calls the same thing for its two kinds of fleets.
struct Words {
    describe: Action,
    instances: Action,
    history: Action,
    modify: Action,
    delete: Action,
    not_found: &'static str,
}

const fn words(backend: Backend) -> Words {
    match backend {
        Backend::SpotFleet => Words {
            describe: Action::DESCRIBE_SPOT_FLEET_REQUESTS,
            instances: Action::DESCRIBE_SPOT_FLEET_INSTANCES,
            history: Action::DESCRIBE_SPOT_FLEET_REQUEST_HISTORY,
            modify: Action::MODIFY_SPOT_FLEET_REQUEST,
            delete: Action::CANCEL_SPOT_FLEET_REQUESTS,
            not_found: "InvalidSpotFleetRequestId.NotFound",
        },
        Backend::Ec2Fleet => Words {
            describe: Action::DESCRIBE_FLEETS,
            instances: Action::DESCRIBE_FLEET_INSTANCES,
            history: Action::DESCRIBE_FLEET_HISTORY,
            modify: Action::MODIFY_FLEET,
            delete: Action::DELETE_FLEETS,
            not_found: "InvalidFleetId.NotFound",
        },
    }
}

/// The most queries of one GetMetricData.
const MOST_QUERIES: usize = 500;

fn error(action: Action, class: ErrorClass, code: &str, message: &str) -> ApiError {
    let service = match action {
        Action::GET_METRIC_DATA | Action::DESCRIBE_ALARMS => "cloudwatch",
        Action::DESCRIBE_SCALABLE_TARGETS => "application-autoscaling",
        _ => "ec2",
    };
    ApiError::new(class, service, action.0, Some(code), message)
}

impl World {
    /// Counts, throttles and refuses a call as the world's own methods do: for actions that are answered
    /// elsewhere.
    pub fn admit(&mut self, caller: &str, action: Action) -> Result<(), ApiError> {
        let offset = self.offset();
        let refused = if self.spec.throttling && !self.throttle.admits(action, self.now) {
            Some((ErrorClass::Throttled { retry_after: None }, "RequestLimitExceeded".into()))
        } else {
            self.faults.refusal(action, offset, &mut self.call_chance)
        };
        let count = self.calls.of_mut(caller, action);
        count.calls += 1;
        let Some((class, code)) = refused else {
            return Ok(());
        };
        if matches!(class, ErrorClass::Throttled { .. }) {
            count.throttled += 1;
        } else {
            count.failed += 1;
        }
        let message = match class {
            ErrorClass::Throttled { .. } => "Request limit exceeded.",
            _ => "An internal error has occurred",
        };
        Err(error(action, class, &code, message))
    }

    /// How long the answer to a call of this action takes, by the faults in force.
    pub fn latency(&self, action: Action) -> Duration {
        self.faults.latency(action, self.offset())
    }

    /// A call from its beginning to its end: admitted, answered, and the answer perhaps lost.
    pub(crate) fn call<T>(
        &mut self,
        caller: &str,
        action: Action,
        answer: impl FnOnce(&mut Self) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.admit(caller, action)?;
        let mut answer = answer(self);
        if self.faults.loses_answer(action, self.offset(), &mut self.call_chance) {
            let lost = "the connection was closed before the answer was complete";
            let mut unclear = error(action, ErrorClass::Unclear, "", lost);
            unclear.code = None;
            answer = Err(unclear);
        }
        match &answer {
            Ok(_) => {}
            Err(refused) if matches!(refused.class, ErrorClass::Throttled { .. }) => {
                self.calls.of_mut(caller, action).throttled += 1;
            }
            Err(_) => self.calls.of_mut(caller, action).failed += 1,
        }
        answer
    }

    /// The time that describes show.
    pub(crate) fn shown(&self) -> Timestamp {
        self.now - self.spec.timing.describe_lag
    }

    /// A fleet's place in the world.
    pub(crate) fn place_of(&self, fleet: &FleetId) -> Option<usize> {
        self.fleets.iter().position(|data| data.id == *fleet)
    }

    fn find(&self, action: Action, backend: Backend, fleet: &FleetId) -> Result<usize, ApiError> {
        let found = self.place_of(fleet).filter(|place| self.fleets[*place].backend() == backend);
        let message = || format!("The fleet request '{fleet}' does not exist");
        found.ok_or_else(|| error(action, ErrorClass::NotFound, words(backend).not_found, &message()))
    }

    // Fleets.

    /// RequestSpotFleet, CreateFleet.
    pub fn create_fleet(&mut self, caller: &str, request: FleetRequest) -> Result<FleetId, ApiError> {
        let action = match request.backend {
            Backend::SpotFleet => Action::REQUEST_SPOT_FLEET,
            Backend::Ec2Fleet => Action::CREATE_FLEET,
        };
        self.call(caller, action, |world| {
            check_targets(action, request.target, request.on_demand_target)?;
            if request.valid_until.is_some_and(|until| until <= world.now) {
                let message = "The valid-until date must be in the future";
                return Err(error(action, ErrorClass::Malformed, "InvalidParameterValue", message));
            }
            let load: Demand = world.spec.load.clone();
            let fleet = world.enlist(None, request, load);
            world.record_change(fleet, FleetChange::Submitted);
            world.agenda.put(world.now + world.spec.timing.submitted, Due::FleetBegins(fleet));
            world.expire_in_time(fleet);
            world.fleets[fleet].note_version(world.now);
            Ok(world.fleets[fleet].id.clone())
        })
    }

    /// CancelSpotFleetRequests, DeleteFleets: one fleet a call here; `terminate` ends its instances.
    pub fn delete_fleet(
        &mut self,
        caller: &str,
        backend: Backend,
        fleet: &FleetId,
        terminate: bool,
    ) -> Result<Deletion, ApiError> {
        let action = words(backend).delete;
        self.call(caller, action, |world| {
            let place = world.find(action, backend, fleet)?;
            if world.fleets[place].deletion.is_some() {
                let message = "The fleet is deleted already";
                return Err(error(
                    action,
                    ErrorClass::Conflict,
                    "fleetRequestNotInCancellableState",
                    message,
                ));
            }
            world.delete(place, terminate);
            Ok(world.fleets[place].deletion.unwrap_or(Deletion::Gone))
        })
    }

    /// DescribeSpotFleetRequests, DescribeFleets.
    ///
    /// * `ids`: which; empty: all of the backend, deleted ones too for two days.
    pub fn describe_fleets(
        &mut self,
        caller: &str,
        backend: Backend,
        ids: &[FleetId],
    ) -> Result<Vec<FleetView>, ApiError> {
        let action = words(backend).describe;
        self.call(caller, action, |world| {
            if ids.is_empty() {
                return Ok(world.shown_fleets(backend));
            }
            ids.iter()
                .map(|id| {
                    let view = world.find(action, backend, id).map(|place| world.shown_fleet(place))?;
                    // Made a moment ago, and not shown yet.
                    let code = words(backend).not_found;
                    view.ok_or_else(|| error(action, ErrorClass::NotFound, code, "The fleet does not exist"))
                })
                .collect()
        })
    }

    /// A fleet as a describe shows it now; `None` when it is not shown yet, or no more.
    pub(crate) fn shown_fleet(&self, place: usize) -> Option<FleetView> {
        let data = &self.fleets[place];
        data.view_at(self.shown(), self.overrides_of(data))
    }

    /// A fleet's shopping list; where it named none, what the world made of that.
    fn overrides_of(&self, data: &FleetData) -> Vec<Override> {
        if !data.request.overrides.is_empty() {
            return data.request.overrides.clone();
        }
        let line = |pool: &fleet::Pool| Override {
            instance_type: pool.instance_type.clone(),
            zone: Some(pool.zone.clone()),
            weight: fleet::Weight::new(1.0),
        };
        data.candidates.iter().map(|candidate| line(&self.pools[candidate.pool].pool)).collect()
    }

    /// ModifySpotFleetRequest, ModifyFleet.
    ///
    /// Refused with `FleetNotInModifiableState` while another modification is carried out, for kinds other than
    /// `maintain` and for deleted fleets. The answer comes at once, its effect takes until the fleet is active
    /// again.
    pub fn modify_fleet(
        &mut self,
        caller: &str,
        backend: Backend,
        fleet: &FleetId,
        change: ModifyFleet,
    ) -> Result<(), ApiError> {
        let action = words(backend).modify;
        self.call(caller, action, |world| {
            let place = world.find(action, backend, fleet)?;
            let data = &world.fleets[place];
            let modifiable = match data.state {
                FleetState::Active => true,
                FleetState::Submitted => backend == Backend::Ec2Fleet,
                _ => false,
            };
            if !modifiable || data.request.kind != FleetKind::Maintain {
                let message = format!("Fleet {fleet} is not in a modifiable state");
                let code = "FleetNotInModifiableState";
                return Err(error(action, ErrorClass::Conflict, code, &message));
            }
            let target = change.target.unwrap_or(data.target);
            let on_demand_target = change.on_demand_target.unwrap_or(data.on_demand_target);
            check_targets(action, target, on_demand_target)?;
            world.modify(
                place,
                ModifyFleet { target: Some(target), on_demand_target: Some(on_demand_target), ..change },
            );
            Ok(())
        })
    }

    /// CreateLaunchTemplateVersion, as the port makes one: like another but for its image, which this world does not
    /// look at. The same token gives the same version again.
    pub fn make_version(
        &mut self,
        caller: &str,
        template: &str,
        source: u64,
        token: &str,
    ) -> Result<u64, ApiError> {
        let action = Action::CREATE_LAUNCH_TEMPLATE_VERSION;
        self.call(caller, action, |world| {
            let latest = world.latest_version(template);
            if source == 0 || source > latest {
                let message = format!("Could not find launch template version {source} of {template}.");
                let code = "InvalidLaunchTemplateId.VersionNotFound";
                return Err(error(action, ErrorClass::NotFound, code, &message));
            }
            let made = world.versions.entry((template.to_owned(), token.to_owned())).or_insert(latest + 1);
            Ok(*made)
        })
    }

    /// The number of a template's last version; 0 for one that nothing was ever launched from.
    fn latest_version(&self, template: &str) -> u64 {
        let made = self.versions.iter().filter(|((id, _), _)| id == template).map(|(_, version)| *version);
        let used = self.fleets.iter().map(|data| &data.request.launch_template);
        let used = used.filter(|(id, _)| id == template).filter_map(|(_, version)| version.parse().ok());
        made.chain(used).max().unwrap_or(0)
    }

    /// What is launched from this version of a launch template from now on runs, and never serves.
    pub fn break_version(&mut self, version: u64) {
        self.broken.insert(version);
    }

    fn modify(&mut self, place: usize, change: ModifyFleet) {
        let stuck = self.faults.stuck(self.offset());
        let boot = self.spec.timing.boot.usual();
        let data = &mut self.fleets[place];
        let before = data.target;
        data.target = change.target.unwrap_or(before);
        data.on_demand_target = change.on_demand_target.unwrap_or(data.on_demand_target);
        data.excess = change.excess.unwrap_or(data.excess);
        if let Some(version) = change.launch {
            data.request.launch_template.1 = version.to_string();
        }
        data.scores.note_target(before, data.target, boot, self.now);
        data.frozen = stuck;
        let submitted = data.state == FleetState::Submitted;
        data.state = FleetState::Modifying;
        self.record_change(place, FleetChange::ModifyInProgress);
        let modifying = self.spec.timing.modifying.max(if submitted {
            self.spec.timing.submitted
        } else {
            Duration::ZERO
        });
        self.agenda.put(self.now + modifying, Due::FleetModified(place));
        if !stuck {
            self.shrink(place);
        }
        self.replenish(place);
    }

    /// DescribeSpotFleetInstances, DescribeFleetInstances: those that the fleet holds as active.
    pub fn fleet_instances(
        &mut self,
        caller: &str,
        backend: Backend,
        fleet: &FleetId,
    ) -> Result<Vec<Instance>, ApiError> {
        let action = words(backend).instances;
        self.call(caller, action, |world| {
            let place = world.find(action, backend, fleet)?;
            let active = |instance: &Instance| {
                matches!(instance.state, InstanceState::Pending | InstanceState::Running)
            };
            Ok(world.shown_members(place).filter(active).collect())
        })
    }

    /// DescribeSpotFleetRequestHistory, DescribeFleetHistory: since a time, oldest first, at most 1000.
    pub fn history(
        &mut self,
        caller: &str,
        backend: Backend,
        fleet: &FleetId,
        since: Timestamp,
    ) -> Result<Vec<FleetRecord>, ApiError> {
        let action = words(backend).history;
        self.call(caller, action, |world| {
            let place = world.find(action, backend, fleet)?;
            let until = world.shown();
            let shown =
                world.fleets[place].history.iter().filter(|line| line.at >= since && line.at <= until);
            Ok(shown.cloned().collect())
        })
    }

    // Instances.

    /// A fleet's instances as they are shown now.
    pub(crate) fn shown_members(&self, place: usize) -> impl Iterator<Item = Instance> {
        let (at, fleet) = (self.shown(), &self.fleets[place]);
        let members = fleet.members.iter().filter_map(|serial| self.instances.get(serial));
        members.filter_map(move |instance| instance.view_at(at, &fleet.id, &self.pools))
    }

    /// DescribeInstances of fleets' instances, terminated ones too for a while, in the order of their launches.
    ///
    /// * `fleets`, `ids`: which; both empty: all. An id that is not there (yet) is `InvalidInstanceID.NotFound`.
    pub fn describe_instances(
        &mut self,
        caller: &str,
        fleets: &[FleetId],
        ids: &[InstanceId],
    ) -> Result<Vec<Instance>, ApiError> {
        let action = Action::DESCRIBE_INSTANCES;
        self.call(caller, action, |world| {
            let wanted = |data: &FleetData| fleets.is_empty() || fleets.contains(&data.id);
            if ids.is_empty() {
                let places = (0..world.fleets.len()).filter(|place| wanted(&world.fleets[*place]));
                return Ok(places.flat_map(|place| world.shown_members(place)).collect());
            }
            let mut found = Vec::new();
            for id in ids {
                let instance = world.serials.get(id).and_then(|serial| world.instances.get(serial));
                let fleet = instance.map(|instance| &world.fleets[instance.fleet]);
                let view = instance.zip(fleet).and_then(|(instance, fleet)| {
                    Some((instance.view_at(world.shown(), &fleet.id, &world.pools)?, wanted(fleet)))
                });
                let (view, wanted) = view.ok_or_else(|| unknown_instance(action, id))?;
                if wanted {
                    found.push(view);
                }
            }
            Ok(found)
        })
    }

    /// TerminateInstances: all, or none when one is unknown. Repeating it changes nothing.
    pub fn terminate_instances(
        &mut self,
        caller: &str,
        instances: &[InstanceId],
    ) -> Result<Vec<Terminated>, ApiError> {
        let action = Action::TERMINATE_INSTANCES;
        self.call(caller, action, |world| {
            let state = |world: &Self, serial: &u32| {
                world.instances.get(serial).and_then(|instance| instance.state_at(world.now))
            };
            let mut serials = Vec::new();
            for id in instances {
                let serial = world.serials.get(id).filter(|serial| state(world, serial).is_some());
                serials.push(*serial.ok_or_else(|| unknown_instance(action, id))?);
            }
            if world.spec.throttling && !world.throttle.admits_terminating(serials.len(), world.now) {
                let class = ErrorClass::Throttled { retry_after: None };
                return Err(error(action, class, "RequestLimitExceeded", "Request limit exceeded."));
            }
            let mut ended = Vec::new();
            for (id, serial) in instances.iter().zip(serials) {
                let previous = state(world, &serial).unwrap_or(InstanceState::Terminated);
                world.end(serial);
                let current = state(world, &serial).unwrap_or(InstanceState::Terminated);
                ended.push(Terminated { instance: id.clone(), previous, current });
            }
            Ok(ended)
        })
    }

    /// CreateTags on fleets and instances, by id.
    pub fn create_tags(
        &mut self,
        caller: &str,
        resources: &[&str],
        tags: &BTreeMap<String, String>,
    ) -> Result<(), ApiError> {
        let action = Action::CREATE_TAGS;
        self.call(caller, action, |world| {
            let known = |resource: &&str| world.tags_of(resource).is_some();
            if !resources.iter().all(known) {
                return Err(error(action, ErrorClass::NotFound, "InvalidID", "a resource does not exist"));
            }
            for resource in resources {
                if let Some(own) = world.tags_of(resource) {
                    own.extend(tags.clone());
                }
            }
            Ok(())
        })
    }

    fn tags_of(&mut self, resource: &str) -> Option<&mut BTreeMap<String, String>> {
        if let Some(serial) = self.serials.get(resource) {
            return self.instances.get_mut(serial).map(|instance| &mut *instance.tags);
        }
        self.fleets.iter_mut().find(|data| data.id.as_str() == resource).map(|data| &mut data.tags)
    }

    // What surrounds them.

    /// DescribeSpotPriceHistory, the prices of now.
    ///
    /// * `types`: which; empty: all.
    pub fn spot_prices(&mut self, caller: &str, types: &[InstanceType]) -> Result<Vec<Offering>, ApiError> {
        self.call(caller, Action::DESCRIBE_SPOT_PRICE_HISTORY, |world| {
            let wanted = world.pools.iter().filter(|state| {
                let of_type = types.is_empty() || types.contains(&state.pool.instance_type);
                of_type && state.pool.market == Market::Spot
            });
            Ok(wanted
                .map(|state| Offering { pool: state.pool.clone(), price: Some(state.spec.price) })
                .collect())
        })
    }

    /// DescribeScalableTargets of Application Auto Scaling: the fleets that are registered.
    pub fn scalable_targets(&mut self, caller: &str) -> Result<Vec<FleetRef>, ApiError> {
        self.call(caller, Action::DESCRIBE_SCALABLE_TARGETS, |world| {
            let registered = world.fleets.iter().filter(|data| world.scalable.contains(&data.id));
            Ok(registered.map(|data| FleetRef { backend: data.backend(), id: data.id.clone() }).collect())
        })
    }

    /// GetMetricData: one answer a metric, in order, each at its own period; empty where there is nothing.
    ///
    /// * `metrics`: at most 500.
    /// * `from`, `to`: of the starts of periods, `to` not included. Points are seen as late as they are long.
    pub fn read_metrics(
        &mut self,
        caller: &str,
        metrics: &[Metric],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<MetricPoints>, ApiError> {
        let action = Action::GET_METRIC_DATA;
        self.call(caller, action, |world| {
            if metrics.len() > MOST_QUERIES {
                let message = "The collection MetricDataQueries must not have a size greater than 500.";
                return Err(error(action, ErrorClass::Malformed, "ValidationError", message));
            }
            Ok(metrics.iter().map(|metric| world.series(metric, from, to).unwrap_or_default()).collect())
        })
    }

    /// A series, as [`World::read_metrics`] reads it; `None` where there is no such fleet or instance.
    pub(crate) fn series(&self, metric: &Metric, from: Timestamp, to: Timestamp) -> Option<MetricPoints> {
        let now = self.now;
        // A fleet's own gauges are there every minute, whatever its instances' monitoring.
        let of = |fleet: &FleetId| self.place_of(fleet).map(|place| &self.fleets[place]);
        Some(match metric {
            Metric::FleetCpu(fleet) => {
                let data = of(fleet)?;
                let detailed = data.request.detailed_monitoring;
                data.metrics.points(Minute::fleet_cpu, detailed, from, to, now)
            }
            Metric::InstanceCpu(id) => {
                let instance: &InstanceData = self.instances.get(self.serials.get(id)?)?;
                let data = &self.fleets[instance.fleet];
                let boot = self.spec.service.boot_utilization;
                let detailed = data.request.detailed_monitoring;
                data.metrics.points(|minute| minute.instance_cpu(instance, boot), detailed, from, to, now)
            }
            Metric::FulfilledCapacity(fleet) => {
                of(fleet)?.metrics.points(|minute| Some(minute.fulfilled()), true, from, to, now)
            }
            Metric::TargetCapacity(fleet) => {
                of(fleet)?.metrics.points(|minute| Some(minute.target()), true, from, to, now)
            }
        })
    }
}

/// EC2's limit of a fleet.
const LARGEST_TARGET: u32 = 10_000;

fn check_targets(action: Action, target: u32, on_demand_target: u32) -> Result<(), ApiError> {
    if target <= LARGEST_TARGET && on_demand_target <= target {
        return Ok(());
    }
    let message = format!(
        "on-demand target {on_demand_target} of target {target}: at most 10000, and not more than the whole"
    );
    Err(error(action, ErrorClass::Malformed, "InvalidParameterValue", &message))
}

fn unknown_instance(action: Action, id: &InstanceId) -> ApiError {
    let message = format!("The instance ID '{id}' does not exist");
    error(action, ErrorClass::NotFound, "InvalidInstanceID.NotFound", &message)
}
