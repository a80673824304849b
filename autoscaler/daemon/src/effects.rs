//! Carrying out calls: each in a task of its own, a few of a kind at a time, none for ever.

use crate::config::{Connect, RegionPorts};
use crate::hooks::Hooks;
use crate::idle::{Activity, Busy, Call, TrackedClock};
use crate::ledgers::Ledgers;
use crate::nodes::Nodes;
use crate::prometheus::{Options, Prometheus};
use autoscaler_core::DrainBy;
use autoscaler_engine::{Answer, CallId, MetricsRequest, NotSent, Permit, Read, Write};
use autoscaler_leader::Fence;
use autoscaler_nomad::Nomad;
use fleet::ports::Clock;
use fleet::{ApiError, ErrorClass, FleetName, Region};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::Instrument;

/// Calls that may be under way at a time, per lane. Ports pace themselves beyond that.
const READS: usize = 8;
/// As many writes as the engine ever has in flight in a region: a write's permit must not run out in a queue.
const WRITES: usize = 20;

/// Nodes that hooks empty at a time: as many as a burst of interruptions may take.
const HOOKS: usize = 64;

/// Calls that wait for each other, and for no others: a slow metrics service delays no describe, a slow region no
/// other one, and no read a write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Reads(Region),
    Writes(Region),
    Cloudwatch(Region),
    Prometheus(String),
    /// Nomad, and what is left to the next leader in Consul.
    Services,
    /// Telling Nomad about nodes: never behind a call to EC2 that hangs.
    Nodes,
    /// Hooks run for minutes.
    Hooks,
}

impl Lane {
    const fn width(&self) -> usize {
        match self {
            Self::Writes(_) | Self::Nodes => WRITES,
            Self::Hooks => HOOKS,
            Self::Reads(_) | Self::Cloudwatch(_) | Self::Prometheus(_) | Self::Services => READS,
        }
    }
}

/// A call to be made.
#[derive(Clone, Debug)]
enum Job {
    Read { region: Region, read: Read },
    Write { region: Region, write: Write, permit: Permit },
}

impl Job {
    fn lane(&self) -> Lane {
        match self {
            Self::Write { write: Write::Drain { node, .. }, .. } if node.by == DrainBy::Hook => Lane::Hooks,
            Self::Write { write, .. } if is_of_node(write) => Lane::Nodes,
            Self::Write { region, .. } => Lane::Writes(region.clone()),
            Self::Read { read: Read::Nodes { .. } | Read::Ledgers { .. }, .. } => Lane::Services,
            Self::Read { read: Read::Metrics(MetricsRequest::Prometheus { address, .. }), .. } => {
                Lane::Prometheus(address.clone())
            }
            Self::Read { region, read: Read::Metrics(MetricsRequest::Cloudwatch { .. }) } => {
                Lane::Cloudwatch(region.clone())
            }
            Self::Read { region, .. } => Lane::Reads(region.clone()),
        }
    }
    const fn label(&self) -> &'static str {
        match self {
            Self::Read { read, .. } => read.label(),
            Self::Write { write, .. } => write.label(),
        }
    }
    const fn region(&self) -> &Region {
        match self {
            Self::Read { region, .. } | Self::Write { region, .. } => region,
        }
    }
    /// The answer of a call that failed in the shell: what may have been sent is unclear.
    fn failed(&self, why: &str) -> Answer {
        let class = match self {
            Self::Read { .. } => ErrorClass::Transient,
            Self::Write { .. } => ErrorClass::Unclear,
        };
        self.refused(ApiError::new(class, "muster", self.label(), None, why))
    }
    fn refused(&self, error: ApiError) -> Answer {
        match self {
            Self::Read { read, .. } => read.failed(error),
            Self::Write { write, .. } => write.failed(error),
        }
    }
}

/// Whether a write is about a node or a group, not a fleet.
const fn is_of_node(write: &Write) -> bool {
    match write {
        Write::Cordon(_) | Write::Drain { .. } | Write::Restore(_) | Write::ScaleGroup { .. } => true,
        Write::Modify { .. } | Write::Terminate { .. } => false,
    }
}

/// A call that is under way. Its task's end is dealt with by whoever holds this.
struct UnderWay {
    call: CallId,
    job: Job,
    lane: Lane,
    busy: Busy,
}

/// How a call ended, with the work that dealing with it is.
pub(crate) struct Ended {
    pub(crate) call: CallId,
    pub(crate) answer: Answer,
    pub(crate) busy: Busy,
}

/// All calls of the daemon.
pub(crate) struct Calls {
    tools: Arc<Tools>,
    activity: Arc<Activity>,
    tasks: JoinSet<Answer>,
    under_way: HashMap<Id, UnderWay>,
    lanes: BTreeMap<Lane, LaneState>,
}

#[derive(Default)]
struct LaneState {
    running: usize,
    waiting: VecDeque<(CallId, Job)>,
}

impl Calls {
    pub(crate) fn new(tools: Tools, activity: Arc<Activity>) -> Self {
        Self {
            tools: Arc::new(tools),
            activity,
            tasks: JoinSet::new(),
            under_way: HashMap::new(),
            lanes: BTreeMap::new(),
        }
    }

    /// Begins a read, or lines it up.
    pub(crate) fn read(&mut self, call: CallId, region: Region, read: Read) {
        self.line_up(call, Job::Read { region, read });
    }

    /// Begins a write, or lines it up.
    pub(crate) fn write(&mut self, call: CallId, region: Region, write: Write, permit: Permit) {
        self.line_up(call, Job::Write { region, write, permit });
    }

    fn line_up(&mut self, call: CallId, job: Job) {
        let lane = job.lane();
        self.lanes.entry(lane.clone()).or_default().waiting.push_back((call, job));
        self.begin_next(&lane);
    }

    /// Begins what its lane has room for. A call that waits in line is no work: it waits for others that are, or
    /// that sleep.
    fn begin_next(&mut self, lane: &Lane) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        while state.running < lane.width() {
            let Some((call, job)) = state.waiting.pop_front() else { break };
            state.running += 1;
            let busy = self.activity.begin();
            let span = tracing::debug_span!("aws", operation = job.label(), region = %job.region());
            let task = Call::new(&busy).run(Arc::clone(&self.tools).carry_out(job.clone()));
            let id = self.tasks.spawn(task.instrument(span)).id();
            self.under_way.insert(id, UnderWay { call, job, lane: lane.clone(), busy });
        }
        if state.running == 0 {
            self.lanes.remove(lane);
        }
    }

    /// Waits for the next call that ends, however it ends; for ever while none is under way.
    pub(crate) async fn next(&mut self) -> Ended {
        loop {
            let ended = match self.tasks.join_next_with_id().await {
                Some(Ok((id, answer))) => (id, Ok(answer)),
                Some(Err(error)) => (error.id(), Err(error)),
                None => std::future::pending().await,
            };
            if let Some(ended) = self.end(ended.0, ended.1) {
                return ended;
            }
        }
    }

    fn end(&mut self, id: Id, answer: Result<Answer, JoinError>) -> Option<Ended> {
        let UnderWay { call, job, lane, busy } = self.under_way.remove(&id)?;
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.running -= 1;
        }
        self.begin_next(&lane);
        let answer = answer.unwrap_or_else(|error| {
            tracing::error!(operation = job.label(), %error, "lost a call to a panic");
            job.failed("the call panicked")
        });
        Some(Ended { call, answer, busy })
    }

    /// Calls under way or in line.
    pub(crate) fn len(&self) -> usize {
        self.under_way.len() + self.lanes.values().map(|lane| lane.waiting.len()).sum::<usize>()
    }
}

/// What calls are carried out with.
pub(crate) struct Tools {
    connect: Arc<dyn Connect>,
    clock: Arc<dyn Clock>,
    read_deadline: Duration,
    write_deadline: Duration,
    regions: std::sync::Mutex<BTreeMap<Region, Arc<OnceCell<RegionPorts>>>>,
    prometheus: std::sync::Mutex<BTreeMap<(String, Option<String>), Prometheus>>,
    nodes: Nodes,
    /// Where the next leader looks; `None` where there is no next one.
    ledgers: Option<Ledgers>,
    /// FENCE, where several may lead.
    fence: Fence,
}

impl Tools {
    pub(crate) fn new(
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
        read_deadline: Duration,
        write_deadline: Duration,
    ) -> Self {
        let (regions, prometheus) = Default::default();
        let nodes = Nodes::new(None, Hooks::default());
        let (ledgers, fence) = (None, Fence::open());
        Self { connect, clock, read_deadline, write_deadline, regions, prometheus, nodes, ledgers, fence }
    }

    /// With what nodes are seen and emptied.
    pub(crate) fn emptying(self, nomad: Option<Nomad>, hooks: Hooks) -> Self {
        Self { nodes: Nodes::new(nomad, hooks), ..self }
    }

    /// As one of several: no write is begun where `fence` is closed, and ledgers are read.
    pub(crate) fn fenced(self, fence: Fence, ledgers: Ledgers) -> Self {
        let (closes, clock) = (fence.clone(), Arc::clone(&self.clock));
        self.nodes.guard(Arc::new(move || closes.may_write(clock.monotonic())));
        Self { fence, ledgers: Some(ledgers), ..self }
    }

    /// Makes one call within its deadline, which is on the host's time: it is there for what hangs, and what hangs
    /// does so whatever the world's clock says.
    async fn carry_out(self: Arc<Self>, job: Job) -> Answer {
        let (work, deadline): (Pin<Box<dyn Future<Output = Answer> + Send>>, _) = match &job {
            Job::Read { read: Read::Nodes { groups }, .. } => {
                let look = async { Answer::Nodes(self.nodes.look(groups, &*self.clock).await) };
                (Box::pin(look), self.read_deadline)
            }
            Job::Read { read: Read::Ledgers { fleets }, .. } => {
                (Box::pin(self.read_ledgers(&job, fleets)), self.read_deadline)
            }
            Job::Read { region, read } => (Box::pin(self.read(&job, region, read)), self.read_deadline),
            Job::Write { write, permit, .. } if is_of_node(write) => {
                let hook = job.lane() == Lane::Hooks;
                // A hook has bounds of its own, which follow from its deadline.
                let deadline = if hook { Duration::from_secs(2 * 86_400) } else { self.write_deadline };
                (Box::pin(self.write_node(write, *permit)), deadline)
            }
            Job::Write { region, write, permit } => {
                (Box::pin(self.write(&job, region, write, *permit)), self.write_deadline)
            }
        };
        match tokio::time::timeout(deadline, work).await {
            Ok(answer) => answer,
            Err(_) => job.failed(&format!("no answer within {}", fleet::DurationText(deadline))),
        }
    }

    async fn ports(&self, region: &Region) -> Result<RegionPorts, ApiError> {
        let cell = {
            let mut regions = self.regions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(regions.entry(region.clone()).or_default())
        };
        let clock: Arc<dyn Clock> = Arc::new(TrackedClock(Arc::clone(&self.clock)));
        cell.get_or_try_init(|| self.connect.connect(region, clock)).await.cloned()
    }

    async fn read(&self, job: &Job, region: &Region, read: &Read) -> Answer {
        if let Read::Metrics(MetricsRequest::Prometheus { address, token_file, queries, from, to, step }) =
            read
        {
            let server = match self.prometheus(address, token_file.as_deref()) {
                Ok(server) => server,
                Err(error) => return Answer::Metrics(Err(error)),
            };
            let mut series = Vec::with_capacity(queries.len());
            for query in queries {
                match server.query_range(&query.0, *from, *to, *step).await {
                    Ok(found) => series.push(found),
                    Err(error) => return Answer::Metrics(Err(error)),
                }
            }
            return Answer::Metrics(Ok(series));
        }
        let RegionPorts { cloud, metrics } = match self.ports(region).await {
            Ok(ports) => ports,
            Err(error) => return job.refused(error),
        };
        match read {
            Read::Fleets { backends } => Answer::Fleets(cloud.describe_fleets(backends).await),
            Read::Instances { fleets } => Answer::Instances(cloud.describe_instances(fleets).await),
            Read::FleetInstances { fleet } => Answer::FleetInstances(cloud.fleet_instances(fleet).await),
            Read::History { fleet, since } => Answer::History(cloud.history(fleet, *since).await),
            Read::ScalableTargets { fleets } => Answer::ScalableTargets(cloud.scalable_targets(fleets).await),
            Read::Metrics(MetricsRequest::Cloudwatch { queries, from, to }) => {
                Answer::Metrics(metrics.read(queries, *from, *to).await)
            }
            Read::Marks => Answer::Marks(cloud.marks().await),
            Read::Alarms { names } => Answer::Alarms(metrics.alarms(names).await),
            Read::Prices { types } => Answer::Prices(cloud.spot_prices(types).await),
            Read::Metrics(MetricsRequest::Prometheus { .. }) | Read::Nodes { .. } | Read::Ledgers { .. } => {
                job.failed("asked of the wrong service")
            }
        }
    }

    async fn write(&self, job: &Job, region: &Region, write: &Write, permit: Permit) -> Answer {
        let cloud = match self.ports(region).await {
            Ok(ports) => ports.cloud,
            // Nothing was sent.
            Err(error) => return job.refused(error),
        };
        if let Some(why) = self.forbidden(permit) {
            return Answer::NotSent(why);
        }
        match write {
            Write::Modify { fleet, change } => Answer::Modified(cloud.modify(fleet, *change).await),
            Write::Terminate { instances, .. } => Answer::Terminated(cloud.terminate(instances).await),
            Write::Cordon(_) | Write::Drain { .. } | Write::Restore(_) | Write::ScaleGroup { .. } => {
                job.failed("told to the wrong service")
            }
        }
    }

    /// FENCE: asked as the last thing before a write. A process that was frozen in between wakes up here.
    fn forbidden(&self, permit: Permit) -> Option<NotSent> {
        let now = self.clock.monotonic();
        if !self.fence.may_write(now) {
            return Some(NotSent::Fenced);
        }
        (now > permit.not_after).then_some(NotSent::Expired)
    }

    async fn write_node(&self, write: &Write, permit: Permit) -> Answer {
        match self.forbidden(permit) {
            Some(why) => Answer::NotSent(why),
            None => Answer::Done(self.nodes.write(write, &*self.clock).await),
        }
    }

    async fn read_ledgers(&self, job: &Job, fleets: &[FleetName]) -> Answer {
        match &self.ledgers {
            Some(ledgers) => Answer::Ledgers(ledgers.read(fleets).await),
            None => job.failed("there is no other leader"),
        }
    }

    fn prometheus(&self, address: &str, token_file: Option<&str>) -> Result<Prometheus, ApiError> {
        let mut known = self.prometheus.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = (address.to_owned(), token_file.map(str::to_owned));
        if let Some(server) = known.get(&key) {
            return Ok(server.clone());
        }
        let options = Options { address: address.to_owned(), token_file: token_file.map(Into::into) };
        let server = Prometheus::new(options)?;
        known.insert(key, server.clone());
        Ok(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Everywhere;
    use autoscaler_engine::BatchId;
    use fleet::ports::{Change, Cloud, MetricQuery, Metrics, Series};
    use fleet::{
        AlarmView, Backend, FleetRef, FleetView, Health, HistoryEvent, ImageId, ImageView, Instance,
        InstanceId, InstanceState, InstanceType, Notice, Offering, Timestamp,
    };
    use fleet_clock::SteppedClock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    /// A region whose answers are given out one by one, and which panics when told to terminate.
    struct Region1 {
        answers: Semaphore,
        asked: AtomicUsize,
    }

    type PortAnswer<'a, T> = fleet::ports::Answer<'a, T>;

    impl Region1 {
        fn new() -> Self {
            Self { answers: Semaphore::new(0), asked: AtomicUsize::new(0) }
        }
        fn when_told<T: Send + Default + 'static>(&self) -> PortAnswer<'_, T> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(async {
                self.answers.acquire().await.expect("never closed").forget();
                Ok(T::default())
            })
        }
    }

    impl Cloud for Region1 {
        fn describe_fleets<'a>(&'a self, _: &'a [Backend]) -> PortAnswer<'a, Vec<FleetView>> {
            self.when_told()
        }
        fn describe_instances<'a>(&'a self, _: &'a [FleetRef]) -> PortAnswer<'a, Vec<Instance>> {
            self.when_told()
        }
        fn fleet_instances<'a>(&'a self, _: &'a FleetRef) -> PortAnswer<'a, Vec<(InstanceId, Health)>> {
            self.when_told()
        }
        fn modify<'a>(&'a self, _: &'a FleetRef, _: Change) -> PortAnswer<'a, ()> {
            self.when_told()
        }
        fn terminate<'a>(&'a self, _: &'a [InstanceId]) -> PortAnswer<'a, Vec<(InstanceId, InstanceState)>> {
            panic!("told to terminate")
        }
        fn make_version<'a>(&'a self, _: &'a str, _: u64, _: &'a ImageId, _: &'a str) -> PortAnswer<'a, u64> {
            self.when_told()
        }
        fn image_of<'a>(&'a self, _: &'a str, _: u64) -> PortAnswer<'a, Option<ImageId>> {
            self.when_told()
        }
        fn look_up_images<'a>(&'a self, _: &'a [ImageId]) -> PortAnswer<'a, Vec<ImageView>> {
            self.when_told()
        }
        fn history<'a>(&'a self, _: &'a FleetRef, _: Timestamp) -> PortAnswer<'a, Vec<HistoryEvent>> {
            self.when_told()
        }
        fn scalable_targets<'a>(&'a self, _: &'a [FleetRef]) -> PortAnswer<'a, Vec<FleetRef>> {
            self.when_told()
        }
        fn spot_prices<'a>(&'a self, _: &'a [InstanceType]) -> PortAnswer<'a, Vec<Offering>> {
            self.when_told()
        }
        fn marks(&self) -> PortAnswer<'_, Vec<Notice>> {
            self.when_told()
        }
    }

    impl Metrics for Region1 {
        fn read<'a>(
            &'a self,
            _: &'a [MetricQuery],
            _: Timestamp,
            _: Timestamp,
        ) -> PortAnswer<'a, Vec<Series>> {
            Box::pin(std::future::ready(Ok(Vec::new())))
        }
        fn alarms<'a>(&'a self, _: &'a [String]) -> PortAnswer<'a, Vec<AlarmView>> {
            self.when_told()
        }
    }

    struct Setting {
        calls: Calls,
        region: Arc<Region1>,
        clock: SteppedClock,
        activity: Arc<Activity>,
    }

    fn setting() -> Setting {
        let (clock, region) = (SteppedClock::new(Timestamp::EPOCH), Arc::new(Region1::new()));
        let ports =
            RegionPorts { cloud: Arc::<Region1>::clone(&region), metrics: Arc::<Region1>::clone(&region) };
        let activity = Arc::<Activity>::default();
        let tools = Tools::new(
            Arc::new(Everywhere(ports)),
            Arc::new(clock.clone()),
            Duration::from_secs(90),
            Duration::from_secs(30),
        );
        Setting { calls: Calls::new(tools, Arc::clone(&activity)), region, clock, activity }
    }

    fn fleets() -> Read {
        Read::Fleets { backends: vec![Backend::SpotFleet] }
    }

    fn fleet_ref() -> FleetRef {
        FleetRef { backend: Backend::SpotFleet, id: "sfr-1".into() }
    }

    fn terminate() -> Write {
        Write::Terminate { fleet: fleet_ref(), instances: vec!["i-1".into()] }
    }

    fn modify() -> Write {
        Write::Modify { fleet: fleet_ref(), change: Change::of_target(2, 0) }
    }

    fn permit(not_after: Duration) -> Permit {
        Permit { not_after, intent: Some(BatchId(1)) }
    }

    fn region(name: &str) -> Region {
        Region::new(name)
    }

    #[tokio::test]
    async fn a_slow_lane_delays_no_other_and_its_line_moves_on() {
        let Setting { mut calls, region: world, activity, clock } = setting();
        for number in 0..20 {
            calls.read(CallId(number), region("eu-west-1"), fleets());
        }
        calls.write(CallId(20), region("eu-west-1"), terminate(), permit(Duration::ZERO));
        let metrics =
            MetricsRequest::Cloudwatch { queries: Vec::new(), from: Timestamp::EPOCH, to: Timestamp::EPOCH };
        calls.read(CallId(21), region("eu-west-1"), Read::Metrics(metrics));
        let ended = [calls.next().await, calls.next().await];
        let mut numbers = ended.map(|ended| ended.call.0);
        numbers.sort_unstable();
        assert_eq!(numbers, [20, 21], "neither the write nor the metrics wait for describes");
        assert_eq!(world.asked.load(Ordering::Relaxed), READS, "the others stand in line");
        assert_eq!(calls.len(), 20);
        world.answers.add_permits(20);
        for _ in 0..20 {
            let Ended { answer, .. } = calls.next().await;
            assert_eq!(answer, Answer::Fleets(Ok(Vec::new())));
        }
        assert!(calls.lanes.is_empty() && calls.len() == 0, "nothing is left behind");
        assert!(activity.is_idle(&clock));
    }

    #[tokio::test]
    async fn a_panic_in_a_call_is_its_answer() {
        let Setting { mut calls, activity, clock, .. } = setting();
        calls.write(CallId(1), region("eu-west-1"), terminate(), permit(Duration::ZERO));
        let Ended { call, answer, busy } = calls.next().await;
        assert_eq!(call, CallId(1));
        let Answer::Terminated(Err(error)) = answer else { panic!("{answer:?}") };
        assert_eq!(error.class(), ErrorClass::Unclear, "it may have been sent");
        assert!(!activity.is_idle(&clock), "somebody has yet to deal with it");
        drop(busy);
        assert!(activity.is_idle(&clock));
    }

    #[tokio::test]
    async fn a_write_whose_permit_ran_out_is_not_sent() {
        let Setting { mut calls, clock, region: world, .. } = setting();
        clock.advance_to(Duration::from_secs(11));
        for not_after in [10, 11] {
            calls.write(CallId(1), region("eu-west-1"), modify(), permit(Duration::from_secs(not_after)));
            world.answers.add_permits(1);
            let expected =
                if not_after == 10 { Answer::NotSent(NotSent::Expired) } else { Answer::Modified(Ok(())) };
            assert_eq!(calls.next().await.answer, expected);
        }
        assert_eq!(world.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_at_its_deadline() {
        let Setting { mut calls, .. } = setting();
        calls.read(CallId(1), region("eu-west-1"), fleets());
        calls.write(CallId(2), region("eu-west-1"), modify(), permit(Duration::ZERO));
        let (write, read) = (calls.next().await, calls.next().await);
        let Answer::Modified(Err(error)) = write.answer else { panic!("{:?}", write.answer) };
        assert_eq!(error.to_string(), "muster modify answered nothing usable: no answer within 30s");
        assert_eq!(error.class(), ErrorClass::Unclear, "it may have taken effect");
        let Answer::Fleets(Err(error)) = read.answer else { panic!("{:?}", read.answer) };
        assert_eq!(error.class(), ErrorClass::Transient);
    }

    #[tokio::test]
    async fn a_region_that_cannot_be_reached_is_tried_again_by_the_next_call() {
        struct Flaky(AtomicUsize);
        impl Connect for Flaky {
            fn connect<'a>(&'a self, _: &'a Region, _: Arc<dyn Clock>) -> PortAnswer<'a, RegionPorts> {
                let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
                let denied =
                    || ApiError::new(ErrorClass::Denied, "sts", "credentials", None, "no credentials");
                let region = Arc::new(Region1::new());
                region.answers.add_permits(9);
                let ports = RegionPorts { cloud: Arc::<Region1>::clone(&region), metrics: region };
                Box::pin(std::future::ready(if first { Err(denied()) } else { Ok(ports) }))
            }
        }
        let Setting { activity, clock, .. } = setting();
        let connect = Arc::new(Flaky(AtomicUsize::new(0)));
        let second = Duration::from_secs(1);
        let tools = Tools::new(Arc::<Flaky>::clone(&connect), Arc::new(clock), second, second);
        let mut calls = Calls::new(tools, activity);
        for (number, class) in [(0, Some(ErrorClass::Denied)), (1, None), (2, None)] {
            calls.read(CallId(number), region("eu-west-1"), fleets());
            let Answer::Fleets(answer) = calls.next().await.answer else { panic!("of another kind") };
            assert_eq!(answer.err().map(|error| error.class()), class, "call {number}");
        }
        assert_eq!(connect.0.load(Ordering::Relaxed), 2, "connected once it could be");
    }
}
