//! The world behind `fleet::ports`, for tests that need no HTTP.

use crate::calls::Action;
use crate::events::FleetRecord;
use crate::fleets::ModifyFleet;
use crate::metrics::{Metric, MetricPoints};
use crate::world::World;
use fleet::ports::{Answer, Change, Cloud, MetricQuery, Metrics, Series};
use fleet::{
    AlarmView, ApiError, Backend, FleetRef, FleetView, Health, HistoryEvent, ImageId, ImageView, Instance,
    InstanceId, InstanceState, InstanceType, Notice, Offering, Timestamp, Utilization,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A world that several hold, each caller under its own name. Clones share the world.
#[derive(Clone, Debug)]
pub struct SimCloud {
    world: Arc<Mutex<World>>,
    caller: Arc<str>,
}

impl SimCloud {
    /// Holds a world; calls are counted under `caller`.
    pub fn new(world: World, caller: &str) -> Self {
        Self { world: Arc::new(Mutex::new(world)), caller: caller.into() }
    }
    /// Holds a world that somebody else holds too.
    pub fn sharing(world: Arc<Mutex<World>>, caller: &str) -> Self {
        Self { world, caller: caller.into() }
    }
    /// The same world for somebody else.
    #[must_use]
    pub fn caller(&self, caller: &str) -> Self {
        Self { world: Arc::clone(&self.world), caller: caller.into() }
    }
    /// The world itself: to advance it, to look at its truth, to break it. One at a time: who holds it keeps all
    /// others waiting, themselves too.
    pub fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked elsewhere has left no half-done state: every method runs to its end.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ready<'a, T: Send + 'a>(answer: Result<T, ApiError>) -> Answer<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Cloud for SimCloud {
    fn describe_fleets<'a>(&'a self, backends: &'a [Backend]) -> Answer<'a, Vec<FleetView>> {
        let mut world = self.world();
        let found: Result<Vec<_>, _> =
            backends.iter().map(|backend| world.describe_fleets(&self.caller, *backend, &[])).collect();
        ready(found.map(|found| found.into_iter().flatten().collect()))
    }

    fn describe_instances<'a>(&'a self, fleets: &'a [FleetRef]) -> Answer<'a, Vec<Instance>> {
        let mut shown = Vec::new();
        // One call a backend, as EC2's two tag names want it.
        for backend in [Backend::SpotFleet, Backend::Ec2Fleet] {
            let ids: Vec<_> = fleets.iter().filter(|f| f.backend == backend).map(|f| f.id.clone()).collect();
            if ids.is_empty() {
                continue;
            }
            match self.world().describe_instances(&self.caller, &ids, &[]) {
                Ok(found) => shown.extend(found),
                Err(error) => return ready(Err(error)),
            }
        }
        shown.retain(|instance| instance.state != InstanceState::Terminated);
        ready(Ok(shown))
    }

    fn fleet_instances<'a>(&'a self, fleet: &'a FleetRef) -> Answer<'a, Vec<(InstanceId, Health)>> {
        let found = self.world().fleet_instances(&self.caller, fleet.backend, &fleet.id);
        ready(found.map(|found| found.into_iter().map(|instance| (instance.id, instance.health)).collect()))
    }

    fn modify<'a>(&'a self, fleet: &'a FleetRef, change: Change) -> Answer<'a, ()> {
        let change = ModifyFleet::from(change);
        ready(self.world().modify_fleet(&self.caller, fleet.backend, &fleet.id, change))
    }

    fn make_version<'a>(
        &'a self,
        template: &'a str,
        source: u64,
        _image: &'a ImageId,
        token: &'a str,
    ) -> Answer<'a, u64> {
        ready(self.world().make_version(&self.caller, template, source, token))
    }

    /// The world has no images: of all templates and versions it is the same.
    fn image_of<'a>(&'a self, _template: &'a str, _version: u64) -> Answer<'a, Option<ImageId>> {
        let image = ImageId::new(crate::FleetRequest::default().image);
        ready(
            self.world().admit(&self.caller, Action::DESCRIBE_LAUNCH_TEMPLATE_VERSIONS).map(|()| Some(image)),
        )
    }

    /// The world has no images: any can be launched.
    fn look_up_images<'a>(&'a self, images: &'a [ImageId]) -> Answer<'a, Vec<ImageView>> {
        let view = |id: &ImageId| ImageView {
            id: id.clone(),
            state: "available".to_owned(),
            architecture: Some("x86_64".to_owned()),
        };
        let admitted = self.world().admit(&self.caller, Action::DESCRIBE_IMAGES);
        ready(admitted.map(|()| images.iter().map(view).collect()))
    }

    fn terminate<'a>(&'a self, instances: &'a [InstanceId]) -> Answer<'a, Vec<(InstanceId, InstanceState)>> {
        let ended = self.world().terminate_instances(&self.caller, instances);
        ready(ended.map(|ended| ended.into_iter().map(|end| (end.instance, end.current)).collect()))
    }

    fn history<'a>(&'a self, fleet: &'a FleetRef, since: Timestamp) -> Answer<'a, Vec<HistoryEvent>> {
        let found = self.world().history(&self.caller, fleet.backend, &fleet.id, since);
        ready(found.map(|found| found.iter().map(FleetRecord::to_event).collect()))
    }

    fn scalable_targets<'a>(&'a self, fleets: &'a [FleetRef]) -> Answer<'a, Vec<FleetRef>> {
        let found = self.world().scalable_targets(&self.caller);
        ready(found.map(|found| found.into_iter().filter(|target| fleets.contains(target)).collect()))
    }

    fn spot_prices<'a>(&'a self, types: &'a [InstanceType]) -> Answer<'a, Vec<Offering>> {
        ready(self.world().spot_prices(&self.caller, types))
    }

    fn marks(&self) -> Answer<'_, Vec<Notice>> {
        ready(self.world().marks(&self.caller))
    }
}

impl Metrics for SimCloud {
    fn read<'a>(
        &'a self,
        queries: &'a [MetricQuery],
        from: Timestamp,
        to: Timestamp,
    ) -> Answer<'a, Vec<Series>> {
        let metrics: Vec<_> = queries.iter().filter_map(metric_of).collect();
        let found = self.world().read_metrics(&self.caller, &metrics, from, to);
        ready(found.map(|found| {
            let mut found = found.into_iter();
            // What the world does not measure has no points.
            let mut answer = |query| metric_of(query).and_then(|_| found.next()).unwrap_or_default();
            queries.iter().map(|query| series(answer(query))).collect()
        }))
    }

    fn alarms<'a>(&'a self, names: &'a [String]) -> Answer<'a, Vec<AlarmView>> {
        let found = self.world().alarms(&self.caller, names);
        ready(found.map(|found| found.into_iter().map(|(name, alarm)| alarm.view(name)).collect()))
    }
}

/// The world's metric that a query asks for; `None` for an operator's own, which the world does not have.
fn metric_of(query: &MetricQuery) -> Option<Metric> {
    match query {
        MetricQuery::FleetCpu(fleet) => Some(Metric::FleetCpu(fleet.id.clone())),
        MetricQuery::InstanceCpu(instance) => Some(Metric::InstanceCpu(instance.clone())),
        MetricQuery::Custom { .. } => None,
    }
}

fn series(points: MetricPoints) -> Series {
    let MetricPoints { period, points } = points;
    Series {
        period: (points.len() >= 2).then_some(period),
        points: points.into_iter().map(|(at, percent)| (at, Utilization::new(percent / 100.0))).collect(),
    }
}
