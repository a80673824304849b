//! The AWS adapter against the loopback cloud: what it makes of the services' answers must be what the world
//! itself would say through the same ports, for both kinds of fleets, and each fault must come out as what it is.

use fleet::ports::{Change, Clock, Cloud, Depth, Message, MetricQuery, Metrics, Queue, Series};
use fleet::{
    AlarmState, AlarmView, ApiError, Backend, ErrorClass, ExcessCapacity, FleetRef, FleetState, FleetView,
    Health, HistoryEvent, HistoryKind, Instance, InstanceId, InstanceState, InstanceType, Market, News,
    NoticeKind, Timestamp, UsdPerHour,
};
use fleet_aws::{Aws, AwsConfig, AwsQueue, Credentials, Endpoints, Secret};
use fleet_clock::SteppedClock;
use fleet_cloud::{CloudConfig, CloudServer, FaultKind, HttpFault, ImageSpec, Stuck};
use fleet_notices::eventbridge;
use fleet_sim::port::SimCloud;
use fleet_sim::{
    Action, Demand, FleetRequest, FleetSpec, ModifyFleet, PoolSpec, ScheduledCode, World, WorldSpec,
    override_of,
};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BOTH: [Backend; 2] = [Backend::SpotFleet, Backend::Ec2Fleet];
const CALLER: &str = "contract";

fn start() -> Timestamp {
    Timestamp::parse("2026-03-01T00:00:00Z").expect("a valid time")
}

/// A spot fleet of twelve and an EC2 fleet of six, two of them on demand; both 75 % busy.
fn spec() -> WorldSpec {
    let mut spec = WorldSpec::default();
    let price = UsdPerHour::from_micros(107_000);
    let on_demand = PoolSpec { market: Market::OnDemand, ..PoolSpec::spot("m5.large", "eu-west-1a", price) };
    spec.pools.push(on_demand);
    let lists =
        vec![override_of("m5.large", 1.0), override_of("c5.large", 1.0), override_of("r5.large", 2.0)];
    let tags = |service: &str| BTreeMap::from([("service".to_owned(), service.to_owned())]);
    let web =
        FleetRequest { target: 12, overrides: lists.clone(), tags: tags("web"), ..FleetRequest::default() };
    let batch = FleetRequest {
        backend: Backend::Ec2Fleet,
        target: 6,
        on_demand_target: 2,
        overrides: lists,
        capacity_rebalance: true,
        excess: ExcessCapacity::Termination,
        valid_until: Some(start() + Duration::from_secs(86_400)),
        detailed_monitoring: false,
        tags: tags("batch"),
        ..FleetRequest::default()
    };
    let fleet = |request: FleetRequest, load| FleetSpec {
        initial: Some(request.target),
        request,
        load: Demand::constant(load),
        ..FleetSpec::default()
    };
    spec.fleets = vec![fleet(web, 9.0), fleet(batch, 4.5)];
    spec
}

/// A cloud, the adapter on it, and the world seen without either.
struct Loopback {
    clock: SteppedClock,
    truth: SimCloud,
    server: CloudServer,
    aws: Aws,
}

impl Loopback {
    async fn new(spec: WorldSpec) -> Self {
        let clock = SteppedClock::new(start());
        let world = Arc::new(Mutex::new(World::new(spec, 7, start())));
        let truth = SimCloud::sharing(Arc::clone(&world), "truth");
        let server =
            CloudServer::start(CloudConfig::new(world, Arc::new(clock.clone()))).await.expect("a cloud");
        let aws = Aws::connect(config(&server, "muster-secret"), Arc::new(clock.clone())).await;
        Self { clock, truth, server, aws }
    }
    /// Lets the world and the clock go on together.
    fn pass(&self, time: Duration) {
        self.clock.advance_to(self.clock.monotonic() + time);
        self.truth.world().advance(self.clock.wall());
        self.server.world_moved();
    }
    /// Runs a call to its end; time passes whenever it waits.
    async fn drive<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let mut look = tokio::time::interval(Duration::from_millis(1));
        loop {
            tokio::select! {
                biased;
                output = &mut call => return output,
                _ = look.tick() => {
                    if let Some(next) = self.clock.next_wake() {
                        self.pass(next.saturating_sub(self.clock.monotonic()));
                    }
                }
            }
        }
    }
    async fn fleets(&self) -> Vec<FleetView> {
        self.drive(self.aws.describe_fleets(&BOTH)).await.expect("fleets")
    }
    async fn fleet(&self, backend: Backend) -> FleetView {
        let fleets = self.fleets().await;
        fleets.into_iter().find(|fleet| fleet.backend == backend).expect("one of each")
    }
    async fn instances(&self, fleet: &FleetRef) -> Vec<Instance> {
        self.drive(self.aws.describe_instances(std::slice::from_ref(fleet))).await.expect("instances")
    }
    fn fault(&self, kind: FaultKind, actions: &[&str], times: Option<u32>) {
        self.server.set_faults(vec![HttpFault { times, ..HttpFault::new(kind, actions) }]);
    }
}

fn config(server: &CloudServer, secret: &str) -> AwsConfig {
    let mut config = AwsConfig::new("eu-west-1".into());
    config.endpoints = Endpoints::all(server.endpoint());
    CALLER.clone_into(&mut config.app_name);
    config.credentials =
        Credentials::Static { access_key_id: "muster".into(), secret_access_key: Secret::new(secret) };
    config
}

fn by_id(mut instances: Vec<Instance>) -> Vec<Instance> {
    instances.sort_by(|a, b| a.id.cmp(&b.id));
    instances
}

const fn change(target: u32, on_demand_target: u32) -> Change {
    Change::of_target(target, on_demand_target)
}

#[tokio::test]
async fn fleets_and_instances_are_what_the_world_says_they_are() {
    let cloud = Loopback::new(spec()).await;
    cloud.pass(Duration::from_secs(600));
    // One moves, so that states differ; one is ill.
    let batch = cloud.fleet(Backend::Ec2Fleet).await.fleet_ref();
    cloud.drive(cloud.truth.modify(&batch, change(8, 2))).await.expect("the world takes it");
    cloud.pass(Duration::from_secs(7));
    let fleets = cloud.fleets().await;
    assert_eq!(fleets, cloud.truth.describe_fleets(&BOTH).await.expect("fleets"));
    assert_eq!(
        fleets.iter().map(|fleet| fleet.state).collect::<Vec<_>>(),
        [FleetState::Active, FleetState::Modifying]
    );

    let refs: Vec<FleetRef> = fleets.iter().map(FleetView::fleet_ref).collect();
    let instances = by_id(cloud.drive(cloud.aws.describe_instances(&refs)).await.expect("instances"));
    assert_eq!(instances, by_id(cloud.truth.describe_instances(&refs).await.expect("instances")));
    assert!(
        instances.iter().any(|instance| instance.state == InstanceState::Pending),
        "two are on their way"
    );
    assert!(instances.iter().any(|instance| instance.pool.market == Market::OnDemand));

    let ill = instances[0].id.clone();
    assert!(cloud.truth.world().set_health(&ill, Health::Unhealthy));
    let mut health = BTreeMap::new();
    for fleet in &refs {
        let own = cloud.drive(cloud.aws.fleet_instances(fleet)).await.expect("a list");
        let mut expected = cloud.truth.fleet_instances(fleet).await.expect("a list");
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        let found: BTreeMap<InstanceId, Health> = own.into_iter().collect();
        assert_eq!(found.clone().into_iter().collect::<Vec<_>>(), expected);
        health.extend(found);
    }
    assert_eq!(health.get(&ill), Some(&Health::Unhealthy));
}

#[tokio::test]
async fn a_modification_sets_target_and_policy_and_the_next_has_to_wait() {
    let cloud = Loopback::new(spec()).await;
    cloud.pass(Duration::from_secs(300));
    for (backend, target, on_demand) in [(Backend::SpotFleet, 15, 0), (Backend::Ec2Fleet, 9, 3)] {
        let fleet = cloud.fleet(backend).await.fleet_ref();
        cloud.drive(cloud.aws.modify(&fleet, change(target, on_demand))).await.expect("accepted");
        let view = cloud.fleet(backend).await;
        assert_eq!(
            (view.state, view.target, view.on_demand_target),
            (FleetState::Modifying, target, on_demand)
        );
        assert_eq!(view.excess, ExcessCapacity::NoTermination);
        let error = cloud.drive(cloud.aws.modify(&fleet, change(4, 0))).await.expect_err("busy");
        assert_eq!(error.class, ErrorClass::Conflict, "{error}");
        cloud.pass(Duration::from_secs(300));
        let view = cloud.fleet(backend).await;
        assert_eq!(
            (view.state, view.target, view.fulfilled.get()),
            (FleetState::Active, target, f64::from(target))
        );
    }
    let gone =
        FleetRef { backend: Backend::SpotFleet, id: "sfr-00000000-0000-0000-0000-000000000000".into() };
    let error = cloud.drive(cloud.aws.modify(&gone, change(1, 0))).await.expect_err("unknown");
    assert_eq!(error.class, ErrorClass::NotFound, "{error}");
    let gone =
        FleetRef { backend: Backend::Ec2Fleet, id: "fleet-00000000-0000-0000-0000-000000000000".into() };
    let error = cloud.drive(cloud.aws.modify(&gone, change(1, 0))).await.expect_err("unknown");
    assert_eq!(error.class, ErrorClass::NotFound, "{error}");
}

#[tokio::test]
async fn one_particular_instance_can_be_removed_and_is_not_replaced() {
    let cloud = Loopback::new(spec()).await;
    cloud.pass(Duration::from_secs(300));
    for (backend, on_demand) in [(Backend::SpotFleet, 0), (Backend::Ec2Fleet, 2)] {
        let view = cloud.fleet(backend).await;
        let fleet = view.fleet_ref();
        let before = cloud.instances(&fleet).await;
        let spot = |instance: &&Instance| instance.pool.market == Market::Spot;
        let victim = before.iter().find(spot).expect("a spot instance");
        let weight = view.weight_of(&victim.pool.instance_type, &victim.pool.zone).get();
        let target = f64::from(view.target) - weight;
        let target = (0..=view.target).find(|count| f64::from(*count) == target).expect("a whole weight");
        cloud.drive(cloud.aws.modify(&fleet, change(target, on_demand))).await.expect("accepted");
        cloud.pass(Duration::from_secs(60));
        let left =
            cloud.drive(cloud.aws.terminate(std::slice::from_ref(&victim.id))).await.expect("accepted");
        assert_eq!(left, [(victim.id.clone(), InstanceState::ShuttingDown)]);
        cloud.pass(Duration::from_secs(600));
        // What has ended is shown for a while, with the reason why.
        let after = cloud.instances(&fleet).await.into_iter();
        let after = after.filter(|instance| instance.state != InstanceState::Terminated);
        let mut after: Vec<_> = after.map(|instance| instance.id).collect();
        let mut expected: Vec<_> = before.iter().map(|instance| instance.id.clone()).collect();
        expected.retain(|id| *id != victim.id);
        after.sort();
        expected.sort();
        assert_eq!(after, expected, "one less, and no other came");
    }
    let error = cloud.drive(cloud.aws.terminate(&["i-00000000000000000".into()])).await.expect_err("unknown");
    assert_eq!(error.class, ErrorClass::NotFound, "{error}");
}

#[tokio::test]
async fn history_tells_of_launches_and_of_the_pool_that_had_nothing() {
    let cloud = Loopback::new(spec()).await;
    cloud.pass(Duration::from_secs(300));
    for pool in spec().pools {
        cloud.truth.world().set_depth(&pool.pool(), 0);
    }
    for (backend, target, on_demand) in [(Backend::SpotFleet, 14, 0), (Backend::Ec2Fleet, 8, 2)] {
        let fleet = cloud.fleet(backend).await.fleet_ref();
        cloud.drive(cloud.aws.modify(&fleet, change(target, on_demand))).await.expect("accepted");
        cloud.pass(Duration::from_secs(120));
        let events = cloud.drive(cloud.aws.history(&fleet, start())).await.expect("a history");
        assert!(events.is_sorted_by_key(|event| event.at), "{events:#?}");
        assert!(events.iter().any(|event| matches!(event.kind, HistoryKind::FleetChange)), "{events:#?}");
        let lacking = events.iter().find_map(|event| match &event.kind {
            HistoryKind::NoCapacity { instance_type: Some(name), zone: Some(zone), .. } => Some((name, zone)),
            _ => None,
        });
        let (name, zone) = lacking.unwrap_or_else(|| panic!("no pool was named: {events:#?}"));
        assert!(
            spec().pools.iter().any(|pool| (&pool.instance_type, &pool.zone) == (name, zone)),
            "{name} {zone}"
        );
        let expected = cloud.truth.history(&fleet, start()).await.expect("a history");
        // EC2's words do not name the price at which a pool had nothing.
        let told = |event: &HistoryEvent| {
            let mut kind = event.kind.clone();
            if let HistoryKind::NoCapacity { price, .. } = &mut kind {
                *price = None;
            }
            (event.at, kind, event.instance.clone())
        };
        assert_eq!(
            events.iter().map(told).collect::<Vec<_>>(),
            expected.iter().map(told).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn another_autoscaler_and_prices_are_read_as_they_are() {
    let cloud = Loopback::new(spec()).await;
    let fleets: Vec<FleetRef> = cloud.fleets().await.iter().map(FleetView::fleet_ref).collect();
    assert_eq!(cloud.drive(cloud.aws.scalable_targets(&fleets)).await, Ok(Vec::new()));
    cloud.truth.world().register_scalable_target(&fleets[0].id);
    assert_eq!(cloud.drive(cloud.aws.scalable_targets(&fleets)).await, Ok(vec![fleets[0].clone()]));

    let types: Vec<InstanceType> = ["m5.large", "c5.large", "r5.large"].map(InstanceType::from).to_vec();
    let mut prices = cloud.drive(cloud.aws.spot_prices(&types)).await.expect("prices");
    let mut expected = cloud.truth.spot_prices(&types).await.expect("prices");
    prices.sort_by(|a, b| a.pool.cmp(&b.pool));
    expected.sort_by(|a, b| a.pool.cmp(&b.pool));
    assert_eq!(prices, expected);
    assert_eq!(prices.len(), 4);
}

#[tokio::test]
async fn cloudwatch_tells_what_was_measured_and_how_often() {
    let cloud = Loopback::new(spec()).await;
    cloud.pass(Duration::from_secs(3600));
    let fleets = cloud.fleets().await;
    let instance = cloud.instances(&fleets[0].fleet_ref()).await[0].id.clone();
    let queries = [
        MetricQuery::FleetCpu(fleets[0].fleet_ref()),
        MetricQuery::FleetCpu(fleets[1].fleet_ref()),
        MetricQuery::InstanceCpu(instance),
        MetricQuery::InstanceCpu("i-00000000000000000".into()),
    ];
    let now = cloud.clock.wall();
    let from = now - Duration::from_secs(1800);
    let series: Vec<Series> = cloud.drive(cloud.aws.read(&queries, from, now)).await.expect("series");
    assert_eq!(series, cloud.truth.read(&queries, from, now).await.expect("series"));
    let periods: Vec<_> = series.iter().map(|series| series.period.map(|period| period.as_secs())).collect();
    assert_eq!(periods, [Some(60), Some(300), Some(60), None]);
    assert!(series[0].points.iter().all(|(_, share)| (0.70..0.80).contains(&share.get())), "{:?}", series[0]);
}

#[tokio::test]
async fn two_weeks_of_history_come_in_one_read() {
    let cloud = Loopback::new(spec()).await;
    let fleets = cloud.fleets().await;
    for _ in 0..14 {
        cloud.pass(Duration::from_secs(86_400));
    }
    let queries = [MetricQuery::FleetCpu(fleets[0].fleet_ref())];
    let now = cloud.clock.wall();
    let from = now - Duration::from_secs(14 * 86_400);
    let series = cloud.drive(cloud.aws.read(&queries, from, now)).await.expect("series");
    assert!(series[0].points.len() > 20_000, "{} points", series[0].points.len());
    assert_eq!(cloud.truth.world().calls().of(CALLER, Action("GetMetricData")).calls, 1);
}

#[tokio::test]
async fn a_lost_answer_to_a_write_is_unclear_and_a_look_tells() {
    for (kind, took_effect) in [
        (FaultKind::CloseBefore, false),
        (FaultKind::CloseAfter, true),
        (FaultKind::FailAfter, true),
        (FaultKind::CutAnswer, true),
    ] {
        for (backend, action) in
            [(Backend::SpotFleet, "ModifySpotFleetRequest"), (Backend::Ec2Fleet, "ModifyFleet")]
        {
            let cloud = Loopback::new(spec()).await;
            cloud.pass(Duration::from_secs(300));
            let fleet = cloud.fleet(backend).await.fleet_ref();
            cloud.fault(kind.clone(), &[action], None);
            let error = cloud.drive(cloud.aws.modify(&fleet, change(20, 2))).await.expect_err("no answer");
            assert_eq!(error.class, ErrorClass::Unclear, "{kind:?} {action}: {error}");
            let target = cloud.fleet(backend).await.target;
            assert_eq!(target == 20, took_effect, "{kind:?} {action}");
            assert!(
                cloud.truth.world().calls().of(CALLER, Action(action)).calls <= 1,
                "{kind:?}: sent again"
            );
        }
    }
}

#[tokio::test]
async fn reads_survive_what_loses_their_answers() {
    for kind in [
        FaultKind::CloseBefore,
        FaultKind::CloseAfter,
        FaultKind::FailAfter,
        FaultKind::CutAnswer,
        FaultKind::Throttle,
        FaultKind::Refuse { status: 503, code: "Unavailable".into() },
    ] {
        let cloud = Loopback::new(spec()).await;
        cloud.pass(Duration::from_secs(300));
        let expected = cloud.fleets().await;
        cloud.fault(kind.clone(), &[], Some(2));
        assert_eq!(cloud.fleets().await, expected, "{kind:?}");
        let query = [MetricQuery::FleetCpu(expected[0].fleet_ref())];
        let now = cloud.clock.wall();
        cloud.fault(kind.clone(), &[], Some(2));
        let series = cloud.drive(cloud.aws.read(&query, now - Duration::from_secs(240), now)).await;
        assert!(series.is_ok_and(|series| !series[0].points.is_empty()), "{kind:?}");
    }
}

#[tokio::test]
async fn three_refusals_of_ten_for_rate_cost_time_and_nothing_else() {
    let cloud = Loopback::new(spec()).await;
    cloud.server.set_faults(vec![HttpFault { share: 0.3, ..HttpFault::new(FaultKind::Throttle, &[]) }]);
    let mut failed = 0;
    for _ in 0..100 {
        failed += usize::from(cloud.drive(cloud.aws.describe_fleets(&BOTH)).await.is_err());
        cloud.pass(Duration::from_secs(10));
    }
    // Five attempts each, and two calls: a failure of 1 in 200.
    assert!(failed <= 4, "{failed} of 100 looks failed");
}

#[tokio::test]
async fn a_key_that_is_wrong_and_a_right_that_is_missing_are_denied_at_once() {
    let cloud = Loopback::new(spec()).await;
    let wrong = Aws::connect(config(&cloud.server, "guessed"), Arc::new(cloud.clock.clone())).await;
    let refused: Result<_, ApiError> = cloud.drive(wrong.describe_fleets(&BOTH)).await;
    assert_eq!(refused.expect_err("a wrong key").class, ErrorClass::Denied);
    cloud.fault(FaultKind::Deny, &["TerminateInstances"], None);
    let fleet = cloud.fleet(Backend::SpotFleet).await.fleet_ref();
    let victim = cloud.instances(&fleet).await[0].id.clone();
    let error = cloud.drive(cloud.aws.terminate(&[victim])).await.expect_err("a missing right");
    assert_eq!((error.class, error.request_id.is_some()), (ErrorClass::Denied, true), "{error:?}");
}

#[tokio::test]
async fn the_budget_keeps_below_the_rates_that_the_cloud_enforces() {
    let cloud = Loopback::new(spec()).await;
    let began = cloud.clock.monotonic();
    for _ in 0..80 {
        cloud.drive(cloud.aws.describe_fleets(&[Backend::SpotFleet])).await.expect("never refused");
    }
    let took = cloud.clock.monotonic().saturating_sub(began).as_secs_f64();
    // 25 at once, the other 55 at 1.5 a second.
    assert!((36.6..36.8).contains(&took), "{took} s");
    let counts = cloud.truth.world().calls().of(CALLER, Action("DescribeSpotFleetRequests"));
    assert_eq!((counts.calls, counts.throttled), (80, 0));
}

/// The queue that EventBridge fills, through the adapter.
fn queue(loopback: &Loopback) -> AwsQueue {
    loopback.aws.queue(&format!("{}/123456789012/muster-events", loopback.server.endpoint()))
}

/// Receives until nothing more is there.
async fn received(loopback: &Loopback, queue: &AwsQueue) -> Vec<Message> {
    let mut all = Vec::new();
    loop {
        let visibility = Duration::from_secs(30);
        let more = loopback.drive(queue.receive(Duration::ZERO, visibility)).await.expect("messages");
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

#[tokio::test]
async fn ec2_s_own_marks_are_what_the_world_says() {
    let loopback = Loopback::new(spec()).await;
    let fleet = loopback.fleet(Backend::SpotFleet).await.fleet_ref();
    let instances = by_id(loopback.instances(&fleet).await);
    assert_eq!(loopback.drive(loopback.aws.marks()).await, Ok(vec![]));
    {
        let mut world = loopback.truth.world();
        assert!(world.interrupt(&instances[0].id));
        assert!(world.schedule(
            &instances[1].id,
            ScheduledCode::InstanceRetirement,
            Duration::from_secs(7200)
        ));
        assert!(world.schedule(&instances[2].id, ScheduledCode::SystemReboot, Duration::from_secs(3600)));
    }
    for minutes in [0, 1, 2] {
        loopback.pass(Duration::from_secs(60 * minutes));
        let mut shown = loopback.drive(loopback.aws.marks()).await.expect("marks");
        let mut true_ones = loopback.truth.marks().await.expect("marks");
        for marks in [&mut shown, &mut true_ones] {
            marks.sort_by(|a, b| a.instance.cmp(&b.instance));
        }
        assert_eq!((shown.len(), shown), (3, true_ones), "after {minutes} minutes more");
    }
}

#[tokio::test]
async fn what_the_queue_says_of_a_fleet_s_life_can_all_be_read() {
    let loopback = Loopback::new(spec()).await;
    let fleets = [loopback.fleet(Backend::SpotFleet).await, loopback.fleet(Backend::Ec2Fleet).await];
    let queue = queue(&loopback);
    let before = received(&loopback, &queue).await;
    assert!(before.iter().all(|message| eventbridge::read(&message.body, message.sent).is_ok()));
    let spot = by_id(loopback.instances(&fleets[0].fleet_ref()).await);
    {
        let mut world = loopback.truth.world();
        world.interrupt(&spot[0].id);
        world.recommend_rebalance(&spot[1].id);
        world.schedule(&spot[2].id, ScheduledCode::InstanceStop, Duration::from_secs(60));
        // The fleet's own scale-in: its policy is to terminate.
        let change = ModifyFleet { target: Some(5), ..ModifyFleet::default() };
        world.modify_fleet(CALLER, Backend::Ec2Fleet, &fleets[1].id, change).expect("modified");
    }
    loopback.pass(Duration::from_secs(20));
    let heard = received(&loopback, &queue).await;
    let news: Vec<News> =
        heard.iter().flat_map(|m| eventbridge::read(&m.body, m.sent).expect("it can be read")).collect();
    let about = |kind| {
        let of_kind = |news: &&News| matches!(news, News::Notice(notice) if notice.kind == kind);
        news.iter().filter(of_kind).filter_map(News::instance).cloned().collect::<Vec<_>>()
    };
    assert!(about(NoticeKind::SpotInterruption).contains(&spot[0].id));
    assert_eq!(about(NoticeKind::RebalanceRecommendation), [spot[1].id.clone()]);
    assert_eq!(about(NoticeKind::ScheduledEvent), [spot[2].id.clone()]);
    let given_back = about(NoticeKind::FleetScaleIn);
    assert!(given_back.len() == 1 && about(NoticeKind::SpotInterruption).contains(&given_back[0]));
    let changed = |news: &News| matches!(news, News::FleetChanged { fleet, .. } if *fleet == fleets[1].id);
    assert!(news.iter().any(changed), "its modification: {news:?}");
    // Nothing is gone before it is deleted, and nothing comes again after.
    loopback.pass(Duration::from_secs(31));
    let again = received(&loopback, &queue).await;
    assert!(again.len() >= heard.len() && again.iter().all(|m| m.deliveries >= 1));
    for ten in again.chunks(10) {
        let receipts: Vec<_> = ten.iter().map(|message| message.receipt.clone()).collect();
        assert_eq!(loopback.drive(queue.delete(&receipts)).await, Ok(vec![]));
    }
    assert_eq!(loopback.drive(queue.depth()).await, Ok(Depth::default()));
}

#[tokio::test]
async fn a_long_poll_ends_when_a_message_comes_or_its_time_is_over() {
    let loopback = Loopback::new(spec()).await;
    let queue = queue(&loopback);
    received(&loopback, &queue).await;
    let began = loopback.clock.monotonic();
    let wait = Duration::from_secs(20);
    assert_eq!(loopback.drive(queue.receive(wait, wait)).await, Ok(vec![]));
    assert_eq!(loopback.clock.monotonic(), began + wait, "longer than other calls may take");
    let poll = async {
        let sent = async {
            loopback.server.send(["{}".to_owned()]);
        };
        tokio::join!(queue.receive(wait, wait), sent).0
    };
    assert_eq!(loopback.drive(poll).await.map(|messages| messages.len()), Ok(1));
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_told() {
    let loopback = Loopback::new(spec()).await;
    let queue = loopback.aws.queue("https://sqs.eu-west-1.amazonaws.com/123456789012/no-such-queue");
    let error = loopback.drive(queue.depth()).await.expect_err("there is none");
    assert_eq!(error.class, ErrorClass::NotFound, "{error}");
}

#[tokio::test]
async fn another_version_is_made_once_and_both_fleets_launch_it_from_then_on() {
    let cloud = Loopback::new(spec()).await;
    cloud.pass(Duration::from_secs(600));
    let image = fleet::ImageId::new("ami-0fedcba9876543210");
    for backend in BOTH {
        let view = cloud.fleet(backend).await;
        let launch = view.launch.clone().expect("one template");
        assert_eq!(launch.version, Some(1), "{backend}");
        let token = format!("token-{backend}");
        let made = cloud.drive(cloud.aws.make_version(&launch.id, 1, &image, &token)).await.expect("made");
        let again = cloud.drive(cloud.aws.make_version(&launch.id, 1, &image, &token)).await.expect("made");
        assert_eq!(made, again, "the same again is the same version");
        let missing = cloud.drive(cloud.aws.make_version(&launch.id, 99, &image, "other")).await;
        assert_eq!(missing.expect_err("no such source").class(), ErrorClass::NotFound);

        let fleet = view.fleet_ref();
        let grows = Change { launch: Some(made), ..change(view.target + 1, view.on_demand_target) };
        cloud.drive(cloud.aws.modify(&fleet, grows)).await.expect("accepted");
        cloud.pass(Duration::from_secs(120));
        let after = cloud.fleet(backend).await;
        assert_eq!(after.launch, Some(fleet::LaunchTemplate { version: Some(made), ..launch.clone() }));
        assert_eq!((after.target, after.overrides.len()), (view.target + 1, view.overrides.len()));
        let instances = cloud.instances(&fleet).await;
        let of = |version| {
            let runs = |i: &&Instance| {
                fleet::LaunchTemplate::of_tags(&i.tags).is_some_and(|found| found.is(&launch.id, version))
            };
            instances.iter().filter(runs).count()
        };
        assert!(of(made) >= 1 && of(1) >= 5, "{backend}: {} new, {} old", of(made), of(1));
    }
}

#[tokio::test]
async fn alarms_of_both_kinds_are_told_as_they_are_and_those_that_are_not_there_are_missing() {
    let cloud = Loopback::new(spec()).await;
    let names: Vec<String> = (0..101).map(|number| format!("n-{number:03}")).collect();
    for (index, name) in names.iter().enumerate().skip(1) {
        cloud.truth.world().set_alarm(name, AlarmState::Ok, index % 2 == 0);
    }
    cloud.pass(Duration::from_secs(60));
    cloud.truth.world().set_alarm("n-002", AlarmState::Alarm, true);
    let mut found = cloud.drive(cloud.aws.alarms(&names)).await.expect("alarms");
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(
        found.iter().map(|alarm| &alarm.name).collect::<Vec<_>>(),
        names[1..].iter().collect::<Vec<_>>()
    );
    assert_eq!(found, cloud.truth.alarms(&names).await.expect("alarms"));
    let off = AlarmView {
        name: "n-002".to_owned(),
        state: AlarmState::Alarm,
        since: Some(start() + Duration::from_secs(60)),
    };
    assert_eq!(found[1], off);
}

#[tokio::test]
async fn images_are_told_in_their_state_and_a_versions_image_by_its_id() {
    let cloud = Loopback::new(spec()).await;
    let put = |spec: ImageSpec| fleet::ImageId::new(cloud.server.put_image(&spec).0);
    let arm = put(ImageSpec { name: "arm".to_owned(), arm64: true, ..ImageSpec::default() });
    let states = [Stuck::Pending, Stuck::Failed, Stuck::Disabled].map(|stuck| {
        put(ImageSpec { name: format!("{stuck:?}"), stuck: Some(stuck), ..ImageSpec::default() })
    });
    let launch = cloud.fleet(Backend::SpotFleet).await.launch.expect("one template");
    let of_fleet = cloud.drive(cloud.aws.image_of(&launch.id, 1)).await.expect("told").expect("by its id");
    let gone = fleet::ImageId::new("ami-0fedcba9876543210");
    let asked = [&[arm.clone(), of_fleet.clone(), gone], &states[..]].concat();
    let found = cloud.drive(Cloud::look_up_images(&cloud.aws, &asked)).await.expect("those that are there");
    let told = |id: &fleet::ImageId| {
        let view = found.iter().find(|view| view.id == *id).expect("it is there");
        (view.state.clone(), view.architecture.clone().unwrap_or_default())
    };
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(told(&arm), ("available".to_owned(), "arm64".to_owned()));
    assert_eq!(told(&of_fleet), ("available".to_owned(), "x86_64".to_owned()));
    assert_eq!(states.each_ref().map(|id| told(id).0), ["pending", "failed", "disabled"]);
}
