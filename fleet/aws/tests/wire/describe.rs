//! How fleets and instances are read.

use crate::stub::{Reply, Stub, clock, connect, drive};
use fleet::ports::Cloud as _;
use fleet::{
    Activity, AllocationStrategy, Backend, EndedBy, ExcessCapacity, FleetKind, FleetRef, FleetState,
    FleetView, Health, InstanceState, Market, Timestamp, Weight,
};

const SPOT_FLEETS: &str = include_str!("bodies/describe_spot_fleet_requests.xml");
const MORE_SPOT_FLEETS: &str = include_str!("bodies/describe_spot_fleet_requests_2.xml");
const SUBNETS: &str = include_str!("bodies/describe_subnets.xml");
const TEMPLATE: &str = include_str!("bodies/describe_launch_template_versions.xml");
const EC2_FLEETS: &str = include_str!("bodies/describe_fleets.xml");
const INSTANCES: &str = include_str!("bodies/describe_instances.xml");

fn list(view: &FleetView) -> Vec<(&str, Option<&str>, f64)> {
    let line = |line: &'_ fleet::Override| line.weight.get();
    let lines = view.overrides.iter();
    lines.map(|o| (o.instance_type.as_str(), o.zone.as_ref().map(fleet::Zone::as_str), line(o))).collect()
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a valid time")
}

#[tokio::test]
async fn spot_fleets_are_read_over_all_pages_with_what_their_overrides_refer_to() {
    let replies = [SPOT_FLEETS, MORE_SPOT_FLEETS, SUBNETS, TEMPLATE, SPOT_FLEETS, MORE_SPOT_FLEETS];
    let stub = Stub::answering(replies.map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let fleets = drive(&clock, aws.describe_fleets(&[Backend::SpotFleet])).await.expect("a readable answer");
    let [web, specifications, cancelled, vcpus] = &fleets[..] else { panic!("{fleets:#?}") };

    assert_eq!(web.id.as_str(), "sfr-73fbd2ce-aa30-494c-8788-1cee4EXAMPLE");
    assert_eq!(
        (web.backend, web.state, web.kind),
        (Backend::SpotFleet, FleetState::Active, FleetKind::Maintain)
    );
    assert_eq!(web.activity, Some(Activity::PendingFulfillment));
    assert_eq!((web.target, web.on_demand_target, web.fulfilled.get()), (8, 2, 6.5));
    assert_eq!(web.excess, ExcessCapacity::NoTermination);
    assert_eq!(web.strategy, Some(AllocationStrategy::PriceCapacityOptimized));
    assert!(web.capacity_rebalance);
    assert_eq!(web.tags.get("service").map(String::as_str), Some("web"));
    assert_eq!(web.created, time("2026-02-17T07:03:37.573Z"));
    assert_eq!(web.valid_until, Some(time("2026-03-02T00:00:00Z")));
    let expected = [
        ("m5.large", Some("eu-west-1a"), 1.0),
        ("c6g.xlarge", Some("eu-west-1b"), 2.0),
        ("c6g.xlarge", None, 2.0),
        ("m6i.large", None, 1.0),
    ];
    assert_eq!(list(web), expected);

    assert_eq!((specifications.state, specifications.strategy), (FleetState::Modifying, None));
    assert_eq!(specifications.excess, ExcessCapacity::Termination, "EC2's default");
    let expected = [
        ("r5.large", Some("eu-west-1a"), 3.0),
        ("r5.large", Some("eu-west-1b"), 3.0),
        ("r5.large", Some("eu-west-1b"), 1.0),
        ("r5.large", Some("eu-west-1c"), 1.0),
        ("t3.medium", None, 1.0),
    ];
    assert_eq!(list(specifications), expected);

    assert_eq!((cancelled.state, cancelled.kind), (FleetState::Deleted, FleetKind::Request));
    assert!(vcpus.overrides.is_empty(), "weights are not known where a fleet counts vCPUs");

    // What does not change is not asked again: only the two pages, and the subnet that was not there counts too.
    drive(&clock, aws.describe_fleets(&[Backend::SpotFleet])).await.expect("a readable answer");
    let pages = ["DescribeSpotFleetRequests"; 2];
    assert_eq!(stub.actions()[..2], pages);
    assert_eq!(stub.actions()[2..4], ["DescribeSubnets", "DescribeLaunchTemplateVersions"]);
    assert_eq!(stub.actions()[4..], pages);
    let requests = stub.requests();
    assert_eq!(requests[0].field("MaxResults").as_deref(), Some("1000"));
    assert_eq!(requests[1].field("NextToken").as_deref(), Some("page-2"));
    assert_eq!(requests[0].field("SpotFleetRequestId.1"), None, "an unknown id would fail the call for all");
    assert_eq!(requests[3].field("LaunchTemplateName").as_deref(), Some("bare"));
    assert_eq!(stub.connections(), 1, "the connection is kept");
}

#[tokio::test]
async fn overrides_stand_without_zones_where_subnets_may_not_be_read() {
    let denied = || Reply::ec2_error(403, "UnauthorizedOperation", "You are not authorized.");
    let replies = [Reply::xml(SPOT_FLEETS), Reply::xml(MORE_SPOT_FLEETS), denied(), denied()];
    let stub =
        Stub::answering(replies.into_iter().chain([SPOT_FLEETS, MORE_SPOT_FLEETS].map(Reply::xml))).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    for _ in 0..2 {
        let fleets =
            drive(&clock, aws.describe_fleets(&[Backend::SpotFleet])).await.expect("the fleets themselves");
        assert_eq!(list(&fleets[0]), [("m5.large", Some("eu-west-1a"), 1.0), ("c6g.xlarge", None, 2.0)]);
    }
    assert_eq!(stub.requests().len(), 6, "a refusal is not asked for again at once");
}

#[tokio::test]
async fn ec2_fleets_are_read_like_spot_fleets() {
    let stub = Stub::answering([Reply::xml(EC2_FLEETS)]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let fleets = drive(&clock, aws.describe_fleets(&[Backend::Ec2Fleet])).await.expect("a readable answer");
    let [batch, gone] = &fleets[..] else { panic!("{fleets:#?}") };
    assert_eq!(
        (batch.backend, batch.state, batch.kind),
        (Backend::Ec2Fleet, FleetState::Active, FleetKind::Maintain)
    );
    assert_eq!((batch.target, batch.on_demand_target, batch.fulfilled.get()), (10, 3, 10.0));
    assert_eq!(batch.excess, ExcessCapacity::NoTermination);
    assert_eq!(batch.strategy, Some(AllocationStrategy::PriceCapacityOptimized));
    assert!(!batch.capacity_rebalance);
    assert_eq!(list(batch), [("m5.large", Some("eu-west-1a"), 2.0)]);
    assert_eq!(batch.weight_of(&"m5.large".into(), &"eu-west-1a".into()), Weight::new(2.0));
    assert_eq!((gone.state, gone.on_demand_target), (FleetState::Deleted, 4), "on demand by default");
}

#[tokio::test]
async fn instances_are_found_by_their_fleet_s_tag() {
    let stub = Stub::answering([INSTANCES, INSTANCES].map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let spot = FleetRef { backend: Backend::SpotFleet, id: "sfr-1".into() };
    let ec2 = FleetRef { backend: Backend::Ec2Fleet, id: "fleet-1".into() };
    let fleets = [spot.clone(), ec2];
    let instances = drive(&clock, aws.describe_instances(&fleets)).await.expect("a readable answer");
    let [running, pending] = &instances[..] else { panic!("{instances:#?}") };

    assert_eq!((running.id.as_str(), running.fleet.as_str()), ("i-0a", "sfr-1"));
    assert_eq!(running.pool.to_string(), "c6g.xlarge/eu-west-1b");
    assert_eq!((running.state, running.health), (InstanceState::Running, Health::Healthy));
    assert_eq!(running.launched, time("2026-03-01T11:30:00Z"));
    assert_eq!(running.vcpus, Some(4));
    assert_eq!(running.private_ip, "10.0.1.7".parse().ok());
    assert_eq!(running.tags.get("Name").map(String::as_str), Some("web"));
    assert_eq!((pending.state, pending.pool.market), (InstanceState::Pending, Market::OnDemand));
    assert_eq!((pending.vcpus, pending.private_ip), (None, None));

    let requests = stub.requests();
    assert_eq!(requests[0].field("Filter.1.Name").as_deref(), Some("tag:aws:ec2spot:fleet-request-id"));
    assert_eq!(requests[0].field("Filter.1.Value.1").as_deref(), Some("sfr-1"));
    assert_eq!(requests[0].field("Filter.2.Value.1").as_deref(), Some("pending"));
    assert_eq!(requests[1].field("Filter.1.Name").as_deref(), Some("tag:aws:ec2:fleet-id"));
    assert_eq!(requests[1].field("Filter.1.Value.1").as_deref(), Some("fleet-1"));
}

#[tokio::test]
async fn who_ended_an_instance_is_read_from_its_reason() {
    let instance = |id: &str, state: &str, code: &str| {
        format!(
            "<item><instanceId>{id}</instanceId><instanceState><name>{state}</name></instanceState>\
             <stateReason><code>{code}</code><message>{code}</message></stateReason>\
             <tagSet><item><key>aws:ec2spot:fleet-request-id</key><value>sfr-1</value></item></tagSet></item>"
        )
    };
    let instances = [
        instance("i-hand", "shutting-down", "Client.UserInitiatedShutdown"),
        instance("i-within", "terminated", "Client.InstanceInitiatedShutdown"),
        instance("i-taken", "terminated", "Server.SpotInstanceTermination"),
        instance("i-lost", "terminated", "Server.InternalError"),
        // It was stopped once, and runs again.
        instance("i-runs", "running", "Client.UserInitiatedShutdown"),
    ];
    let body = format!(
        "<DescribeInstancesResponse><reservationSet><item><instancesSet>{}</instancesSet></item></reservationSet>\
         </DescribeInstancesResponse>",
        instances.concat()
    );
    let stub = Stub::answering([Reply::xml(&body)]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let spot = FleetRef { backend: Backend::SpotFleet, id: "sfr-1".into() };
    let instances = drive(&clock, aws.describe_instances(&[spot])).await.expect("a readable answer");
    let told: Vec<_> = instances.iter().map(|instance| (instance.id.as_str(), instance.ended_by)).collect();
    let (client, aws) = (Some(EndedBy::Client), Some(EndedBy::Aws));
    let expected =
        [("i-hand", client), ("i-within", client), ("i-taken", aws), ("i-lost", aws), ("i-runs", None)];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn no_filter_holds_more_values_than_ec2_takes() {
    let empty = "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>";
    let stub = Stub::answering([empty; 3].map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let name = |index| FleetRef { backend: Backend::SpotFleet, id: format!("sfr-{index}").into() };
    let fleets: Vec<FleetRef> = (0..450).map(name).collect();
    assert_eq!(drive(&clock, aws.describe_instances(&fleets)).await, Ok(Vec::new()));
    let values = |request: &crate::stub::Request| {
        request.form().iter().filter(|(name, _)| name.starts_with("Filter.1.Value.")).count()
    };
    assert_eq!(stub.requests().iter().map(values).collect::<Vec<_>>(), [200, 200, 50]);
}

#[tokio::test]
async fn a_service_that_repeats_its_page_token_does_not_hold_us_forever() {
    let page = "<DescribeFleetsResponse><fleetSet/><nextToken>again</nextToken></DescribeFleetsResponse>";
    let stub = Stub::answering([page; 5].map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let error = drive(&clock, aws.describe_fleets(&[Backend::Ec2Fleet])).await.expect_err("no end in sight");
    assert_eq!(error.class.label(), "malformed");
    assert_eq!(stub.requests().len(), 2);
}
