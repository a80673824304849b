//! What is sent, and what comes back, of all other calls.

use crate::stub::{Reply, Stub, clock, connect, drive};
use fleet::ports::{Change, Cloud as _};
use fleet::{
    Backend, ErrorClass, FleetId, FleetRef, Health, HistoryKind, ImageId, ImageView, InstanceId,
    InstanceState, Pool, Timestamp, UsdPerHour,
};
use fleet_aws::{Launches, Reference, Referred, TemplateSeen};

fn spot_fleet() -> FleetRef {
    FleetRef { backend: Backend::SpotFleet, id: FleetId::new("sfr-1") }
}

fn ec2_fleet() -> FleetRef {
    FleetRef { backend: Backend::Ec2Fleet, id: FleetId::new("fleet-12a34b55-67cd-8ef9-ba9b-9208dEXAMPLE") }
}

const CHANGE: Change = Change::of_target(12, 3);

#[tokio::test]
async fn a_spot_fleet_is_modified_with_its_policy() {
    let body = "<ModifySpotFleetRequestResponse><requestId>r</requestId><return>true</return></ModifySpotFleetRequestResponse>";
    let stub = Stub::answering([Reply::xml(body)]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    drive(&clock, aws.modify(&spot_fleet(), CHANGE)).await.expect("accepted");
    let request = &stub.requests()[0];
    for (name, value) in [
        ("Action", "ModifySpotFleetRequest"),
        ("SpotFleetRequestId", "sfr-1"),
        ("TargetCapacity", "12"),
        ("OnDemandTargetCapacity", "3"),
        ("ExcessCapacityTerminationPolicy", "noTermination"),
    ] {
        assert_eq!(request.field(name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn an_ec2_fleet_is_modified_with_all_its_targets_and_its_own_default_market() {
    let fleets = include_str!("bodies/describe_fleets.xml");
    let body = "<ModifyFleetResponse><requestId>r</requestId><return>true</return></ModifyFleetResponse>";
    let stub = Stub::answering([fleets, body, body].map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    // The first modification has to look the default market up, the second knows it.
    drive(&clock, aws.modify(&ec2_fleet(), CHANGE)).await.expect("accepted");
    drive(&clock, aws.modify(&ec2_fleet(), CHANGE)).await.expect("accepted");
    assert_eq!(stub.actions(), ["DescribeFleets", "ModifyFleet", "ModifyFleet"]);
    let request = &stub.requests()[1];
    for (name, value) in [
        ("FleetId", ec2_fleet().id.as_str()),
        ("TargetCapacitySpecification.TotalTargetCapacity", "12"),
        ("TargetCapacitySpecification.OnDemandTargetCapacity", "3"),
        ("TargetCapacitySpecification.SpotTargetCapacity", "9"),
        ("TargetCapacitySpecification.DefaultTargetCapacityType", "spot"),
        ("ExcessCapacityTerminationPolicy", "no-termination"),
    ] {
        assert_eq!(request.field(name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn what_a_spot_fleet_launches_is_changed_with_its_overrides_as_they_are() {
    let fleets = include_str!("bodies/describe_spot_fleet_requests.xml");
    // Without its second configuration, which names another template.
    let second = "<item>\n                        <launchTemplateSpecification>\n                            <launchTemplateName>";
    let (first, rest) = fleets.split_once(second).expect("two configurations");
    let (_, rest) = rest.split_once("</item>").expect("its end");
    let one = format!("{first}{rest}");
    let done = "<ModifySpotFleetRequestResponse><return>true</return></ModifySpotFleetRequestResponse>";
    let stub = Stub::answering([one.as_str(), done].map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let change = Change { launch: Some(8), ..CHANGE };
    drive(&clock, aws.modify(&spot_fleet(), change)).await.expect("accepted");
    assert_eq!(stub.actions(), ["DescribeSpotFleetRequests", "ModifySpotFleetRequest"]);
    let request = &stub.requests()[1];
    for (name, value) in [
        ("TargetCapacity", "12"),
        ("ExcessCapacityTerminationPolicy", "noTermination"),
        ("LaunchTemplateConfig.1.LaunchTemplateSpecification.LaunchTemplateId", "lt-0a1b2c3d4e5f60718"),
        ("LaunchTemplateConfig.1.LaunchTemplateSpecification.Version", "8"),
        ("LaunchTemplateConfig.1.Overrides.1.InstanceType", "m5.large"),
        ("LaunchTemplateConfig.1.Overrides.1.AvailabilityZone", "eu-west-1a"),
        ("LaunchTemplateConfig.1.Overrides.2.SubnetId", "subnet-0b"),
        ("LaunchTemplateConfig.1.Overrides.2.WeightedCapacity", "2.0"),
    ] {
        assert_eq!(request.field(name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn what_an_ec2_fleet_launches_is_changed_with_its_overrides_as_they_are() {
    let fleets = include_str!("bodies/describe_fleets.xml");
    let done = "<ModifyFleetResponse><return>true</return></ModifyFleetResponse>";
    let stub = Stub::answering([fleets, fleets, done].map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let change = Change { launch: Some(8), ..CHANGE };
    drive(&clock, aws.modify(&ec2_fleet(), change)).await.expect("accepted");
    assert_eq!(stub.actions(), ["DescribeFleets", "DescribeFleets", "ModifyFleet"]);
    let request = &stub.requests()[2];
    for (name, value) in [
        ("TargetCapacitySpecification.TotalTargetCapacity", "12"),
        ("ExcessCapacityTerminationPolicy", "no-termination"),
        ("LaunchTemplateConfig.1.LaunchTemplateSpecification.LaunchTemplateId", "lt-0a1b2c3d4e5f60718"),
        ("LaunchTemplateConfig.1.LaunchTemplateSpecification.Version", "8"),
        ("LaunchTemplateConfig.1.Overrides.1.InstanceType", "m5.large"),
        ("LaunchTemplateConfig.1.Overrides.1.WeightedCapacity", "2.0"),
    ] {
        assert_eq!(request.field(name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_fleet_whose_launch_cannot_go_back_as_it_was_is_left_alone() {
    let several = include_str!("bodies/describe_spot_fleet_requests.xml").to_owned();
    let of_its_own = include_str!("bodies/describe_fleets.xml")
        .replace("<weightedCapacity>2.0</weightedCapacity>", "<imageId>ami-1</imageId>");
    for (fleet, body) in [(spot_fleet(), several), (ec2_fleet(), of_its_own)] {
        let stub = Stub::answering([body.as_str(), body.as_str()].map(Reply::xml)).await;
        let clock = clock();
        let aws = connect(&stub, &clock).await;
        let change = Change { launch: Some(8), ..CHANGE };
        let error = drive(&clock, aws.modify(&fleet, change)).await.expect_err("it is not sent");
        assert_eq!(error.class, ErrorClass::Malformed);
        assert!(stub.actions().iter().all(|action| action.starts_with("Describe")), "{:?}", stub.actions());
    }
}

#[tokio::test]
async fn a_version_is_made_from_another_with_its_token() {
    let body = "<CreateLaunchTemplateVersionResponse><launchTemplateVersion>\
        <launchTemplateId>lt-1</launchTemplateId><versionNumber>8</versionNumber>\
        </launchTemplateVersion></CreateLaunchTemplateVersionResponse>";
    let stub = Stub::answering([Reply::xml(body)]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let image = ImageId::new("ami-0123456789abcdef0");
    let made = drive(&clock, aws.make_version("lt-1", 7, &image, "lt-1-7-ami")).await;
    assert_eq!(made.expect("made"), 8);
    let request = &stub.requests()[0];
    for (name, value) in [
        ("Action", "CreateLaunchTemplateVersion"),
        ("LaunchTemplateId", "lt-1"),
        ("SourceVersion", "7"),
        ("ClientToken", "lt-1-7-ami"),
        ("LaunchTemplateData.ImageId", "ami-0123456789abcdef0"),
    ] {
        assert_eq!(request.field(name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn an_image_is_looked_up_in_whatever_state_it_is() {
    let body = "<DescribeImagesResponse><imagesSet>\
        <item><imageId>ami-0123456789abcdef0</imageId><imageState>disabled</imageState>\
        <architecture>arm64</architecture><creationDate>2026-02-01T00:00:00.000Z</creationDate></item>\
        <item><imageId>ami-0fedcba9876543210</imageId><imageState>available</imageState>\
        <architecture>x86_64</architecture><creationDate>2026-02-01T00:00:00.000Z</creationDate></item>\
        </imagesSet></DescribeImagesResponse>";
    let stub = Stub::answering([Reply::xml(body)]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let ids = ["ami-0123456789abcdef0", "ami-0fedcba9876543210", "ami-0aaaaaaaaaaaaaaaa"].map(ImageId::new);
    let found = drive(&clock, aws.look_up_images(&ids)).await.expect("a readable answer");
    let view = |id: &ImageId, state: &str, architecture: &str| ImageView {
        id: id.clone(),
        state: state.to_owned(),
        architecture: Some(architecture.to_owned()),
    };
    assert_eq!(found, [view(&ids[0], "disabled", "arm64"), view(&ids[1], "available", "x86_64")]);
    let request = &stub.requests()[0];
    for (name, value) in [
        ("Action", "DescribeImages"),
        // By filter: an id that is gone makes a call by ids fail for all.
        ("Filter.1.Name", "image-id"),
        ("Filter.1.Value.3", "ami-0aaaaaaaaaaaaaaaa"),
        ("IncludeDeprecated", "true"),
        ("IncludeDisabled", "true"),
    ] {
        assert_eq!(request.field(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(request.field("Owner.1"), None, "those of others that may be launched, too");
}

#[tokio::test]
async fn the_image_of_a_version_is_told_where_the_version_names_one() {
    let named = include_str!("bodies/describe_launch_template_versions.xml");
    let named = named.replace("ami-0abc", "ami-0123456789abcdef0");
    let by_parameter = "<DescribeLaunchTemplateVersionsResponse><launchTemplateVersionSet><item>\
        <launchTemplateData><imageId>resolve:ssm:/muster/images/node</imageId></launchTemplateData>\
        </item></launchTemplateVersionSet></DescribeLaunchTemplateVersionsResponse>";
    let stub = Stub::answering([named.as_str(), by_parameter].map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let image = Some(ImageId::new("ami-0123456789abcdef0"));
    assert_eq!(drive(&clock, aws.image_of("lt-1", 7)).await, Ok(image));
    assert_eq!(drive(&clock, aws.image_of("lt-1", 8)).await, Ok(None), "whatever the parameter says");
    let request = &stub.requests()[0];
    assert_eq!(request.field("LaunchTemplateId").as_deref(), Some("lt-1"));
    assert_eq!(request.field("LaunchTemplateVersion.1").as_deref(), Some("7"));
}

#[tokio::test]
async fn a_modification_that_makes_no_sense_is_not_sent() {
    let stub = Stub::answering([]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    for change in [Change::of_target(1, 2), Change::of_target(u32::MAX, 0)] {
        for fleet in [spot_fleet(), ec2_fleet()] {
            let error = drive(&clock, aws.modify(&fleet, change)).await.expect_err("nonsense");
            assert_eq!(error.class, ErrorClass::Malformed);
        }
    }
    assert!(stub.requests().is_empty());
}

#[tokio::test]
async fn a_modification_that_ec2_answers_with_false_is_unclear() {
    let body = "<ModifySpotFleetRequestResponse><return>false</return></ModifySpotFleetRequestResponse>";
    let stub = Stub::answering([Reply::xml(body)]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let error = drive(&clock, aws.modify(&spot_fleet(), CHANGE)).await.expect_err("false");
    assert_eq!(error.class, ErrorClass::Unclear);
}

#[tokio::test]
async fn instances_are_terminated_in_one_call() {
    let body = "<TerminateInstancesResponse><instancesSet>\
        <item><instanceId>i-1</instanceId><currentState><code>32</code><name>shutting-down</name></currentState></item>\
        <item><instanceId>i-2</instanceId><currentState><code>48</code><name>terminated</name></currentState></item>\
        </instancesSet></TerminateInstancesResponse>";
    let stub = Stub::answering([Reply::xml(body)]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let ids = ["i-1", "i-2"].map(InstanceId::from);
    let states = drive(&clock, aws.terminate(&ids)).await.expect("accepted");
    let [first, second] = ids;
    assert_eq!(states, [(first, InstanceState::ShuttingDown), (second, InstanceState::Terminated)]);
    assert_eq!(stub.requests()[0].field("InstanceId.2").as_deref(), Some("i-2"));
    assert_eq!(drive(&clock, aws.terminate(&[])).await, Ok(Vec::new()));
    let many: Vec<InstanceId> = (0..1001).map(|index| InstanceId::new(format!("i-{index}"))).collect();
    let error = drive(&clock, aws.terminate(&many)).await.expect_err("more than one call takes");
    assert_eq!(error.class, ErrorClass::Malformed);
    assert_eq!(stub.requests().len(), 1, "neither none nor too many are sent");
}

#[tokio::test]
async fn protection_of_one_of_several_instances_leaves_it_unclear_which_are_gone() {
    let protected = || Reply::ec2_error(400, "OperationNotPermitted", "'disableApiTermination' is set.");
    let stub = Stub::answering([protected(), protected()]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let ids = ["i-1", "i-2"].map(InstanceId::from);
    let error = drive(&clock, aws.terminate(&ids)).await.expect_err("protected");
    assert_eq!(error.class, ErrorClass::Unclear);
    let error = drive(&clock, aws.terminate(&ids[..1])).await.expect_err("protected");
    assert_eq!(error.class, ErrorClass::Denied);
}

#[tokio::test]
async fn a_fleet_s_own_list_tells_the_health_of_its_instances() {
    let list = |root: &str| {
        format!(
            "<{root}><activeInstanceSet><item><instanceId>i-1</instanceId><instanceHealth>healthy</instanceHealth></item>\
             <item><instanceId>i-2</instanceId><instanceHealth>unhealthy</instanceHealth></item>\
             <item><instanceId>i-3</instanceId></item></activeInstanceSet></{root}>"
        )
    };
    for (fleet, root, action) in [
        (spot_fleet(), "DescribeSpotFleetInstancesResponse", "DescribeSpotFleetInstances"),
        (ec2_fleet(), "DescribeFleetInstancesResponse", "DescribeFleetInstances"),
    ] {
        let stub = Stub::answering([Reply::xml(&list(root))]).await;
        let clock = clock();
        let aws = connect(&stub, &clock).await;
        let members = drive(&clock, aws.fleet_instances(&fleet)).await.expect("a readable answer");
        let expected = [("i-1", Health::Healthy), ("i-2", Health::Unhealthy), ("i-3", Health::Healthy)];
        assert_eq!(members, expected.map(|(id, health)| (InstanceId::from(id), health)));
        assert_eq!(stub.actions(), [action]);
    }
}

#[tokio::test]
async fn history_is_told_oldest_first_by_both_services() {
    let records = |root: &str, change: &str, error: &str| {
        format!(
            "<{root}><historyRecordSet>\
             <item><timestamp>2026-03-01T11:05:00Z</timestamp><eventType>{error}</eventType><eventInformation>\
             <eventSubType>allLaunchSpecsTemporarilyBlacklisted</eventSubType><eventDescription>m5.large, ami-0abc, \
             Linux/UNIX, eu-west-1a: InsufficientInstanceCapacity</eventDescription></eventInformation></item>\
             <item><timestamp>2026-03-01T11:00:00Z</timestamp><eventType>{change}</eventType><eventInformation>\
             <eventSubType>launched</eventSubType><instanceId>i-1</instanceId></eventInformation></item>\
             </historyRecordSet></{root}>"
        )
    };
    for (fleet, body) in [
        (spot_fleet(), records("DescribeSpotFleetRequestHistoryResponse", "instanceChange", "error")),
        (ec2_fleet(), records("DescribeFleetHistoryResponse", "instance-change", "service-error")),
    ] {
        let stub = Stub::answering([Reply::xml(&body)]).await;
        let clock = clock();
        let aws = connect(&stub, &clock).await;
        let since = Timestamp::parse("2026-03-01T10:00:00Z").expect("a valid time");
        let events = drive(&clock, aws.history(&fleet, since)).await.expect("a readable answer");
        let [launched, lack] = &events[..] else { panic!("{events:#?}") };
        assert_eq!((&launched.kind, launched.description.as_str()), (&HistoryKind::Launched, "launched"));
        assert_eq!(launched.instance, Some("i-1".into()));
        let pool = HistoryKind::NoCapacity {
            instance_type: Some("m5.large".into()),
            zone: Some("eu-west-1a".into()),
            price: None,
        };
        assert_eq!(lack.kind, pool);
        assert_eq!(stub.requests()[0].field("StartTime").as_deref(), Some("2026-03-01T10:00:00Z"));
    }
}

#[tokio::test]
async fn the_latest_price_of_each_pool_counts() {
    let item = |kind: &str, zone: &str, price: &str, time: &str| {
        format!(
            "<item><instanceType>{kind}</instanceType><productDescription>Linux/UNIX</productDescription>\
             <spotPrice>{price}</spotPrice><timestamp>{time}</timestamp><availabilityZone>{zone}</availabilityZone></item>"
        )
    };
    let body = format!(
        "<DescribeSpotPriceHistoryResponse><spotPriceHistorySet>{}{}{}{}</spotPriceHistorySet><nextToken></nextToken>\
         </DescribeSpotPriceHistoryResponse>",
        item("m5.large", "eu-west-1a", "0.038400", "2026-03-01T11:00:00Z"),
        item("m5.large", "eu-west-1a", "0.040000", "2026-03-01T11:30:00Z"),
        item("m5.large", "eu-west-1b", "0.035000", "2026-03-01T09:00:00Z"),
        item("m5.large", "eu-west-1b", "free", "2026-03-01T11:59:00Z"),
    );
    let stub = Stub::answering([Reply::xml(&body)]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let prices = drive(&clock, aws.spot_prices(&["m5.large".into()])).await.expect("a readable answer");
    let price = |zone: &str, micros| (Pool::spot("m5.large", zone), Some(UsdPerHour::from_micros(micros)));
    let found: Vec<_> = prices.into_iter().map(|offering| (offering.pool, offering.price)).collect();
    assert_eq!(found, [price("eu-west-1a", 40_000), price("eu-west-1b", 35_000)]);
    let request = &stub.requests()[0];
    assert_eq!(request.field("ProductDescription.1").as_deref(), Some("Linux/UNIX"));
    assert_eq!(request.field("StartTime").as_deref(), Some("2026-03-01T12:00:00Z"));
}

#[tokio::test]
async fn only_spot_fleets_are_looked_for_among_the_scalable_targets() {
    let body = br#"{"ScalableTargets":[{"ServiceNamespace":"ec2","ResourceId":"spot-fleet-request/sfr-1",
        "ScalableDimension":"ec2:spot-fleet-request:TargetCapacity","MinCapacity":1,"MaxCapacity":9,
        "RoleARN":"arn:aws:iam::123456789012:role/x","CreationTime":1.7e9}]}"#;
    let json = Reply::Whole(200, "content-type: application/x-amz-json-1.1\r\n", body.to_vec());
    let stub = Stub::answering([json]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let other = FleetRef { backend: Backend::SpotFleet, id: "sfr-2".into() };
    let fleets = [other, ec2_fleet(), spot_fleet()];
    let found = drive(&clock, aws.scalable_targets(&fleets)).await.expect("a readable answer");
    assert_eq!(found, [spot_fleet()]);
    let request = &stub.requests()[0];
    let asked = String::from_utf8_lossy(&request.body).into_owned();
    assert!(asked.contains("spot-fleet-request/sfr-2") && !asked.contains("fleet-12a34b55"), "{asked}");
    let none = [ec2_fleet()];
    assert_eq!(drive(&clock, aws.scalable_targets(&none)).await, Ok(Vec::new()));
    assert_eq!(stub.requests().len(), 1, "EC2 Fleets cost no call");
}

#[tokio::test]
async fn who_launches_which_version_is_told_with_what_refers_to_images() {
    let instances = "<DescribeInstancesResponse><reservationSet><item><instancesSet>\
        <item><instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><name>running</name></instanceState>\
        <tagSet><item><key>aws:ec2launchtemplate:id</key><value>lt-fleets</value></item></tagSet></item>\
        <item><instanceId>i-2</instanceId><imageId>ami-2</imageId><instanceState><name>stopped</name></instanceState>\
        <tagSet><item><key>aws:ec2launchtemplate:id</key><value>lt-groups</value></item>\
        <item><key>aws:autoscaling:groupName</key><value>web</value></item></tagSet></item>\
        <item><instanceId>i-3</instanceId><imageId>ami-3</imageId><instanceState><name>terminated</name></instanceState>\
        </item></instancesSet></item></reservationSet></DescribeInstancesResponse>";
    let spot = "<DescribeSpotFleetRequestsResponse><spotFleetRequestConfigSet>\
        <item><spotFleetRequestId>sfr-1</spotFleetRequestId><spotFleetRequestState>active</spotFleetRequestState>\
        <spotFleetRequestConfig><launchTemplateConfigs><item><launchTemplateSpecification>\
        <launchTemplateName>web</launchTemplateName><version>$Latest</version></launchTemplateSpecification></item>\
        </launchTemplateConfigs></spotFleetRequestConfig></item>\
        <item><spotFleetRequestId>sfr-2</spotFleetRequestId><spotFleetRequestState>cancelled</spotFleetRequestState>\
        <spotFleetRequestConfig><launchTemplateConfigs><item><launchTemplateSpecification>\
        <launchTemplateId>lt-fleets</launchTemplateId><version>1</version></launchTemplateSpecification></item>\
        </launchTemplateConfigs></spotFleetRequestConfig></item>\
        </spotFleetRequestConfigSet></DescribeSpotFleetRequestsResponse>";
    let templates = "<DescribeLaunchTemplatesResponse><launchTemplates>\
        <item><launchTemplateId>lt-fleets</launchTemplateId><launchTemplateName>web</launchTemplateName>\
        <defaultVersionNumber>2</defaultVersionNumber><latestVersionNumber>3</latestVersionNumber></item>\
        <item><launchTemplateId>lt-groups</launchTemplateId><launchTemplateName>group</launchTemplateName>\
        <defaultVersionNumber>1</defaultVersionNumber><latestVersionNumber>1</latestVersionNumber></item>\
        </launchTemplates></DescribeLaunchTemplatesResponse>";
    let version = |number: u8, image: &str| {
        format!(
            "<item><versionNumber>{number}</versionNumber><launchTemplateData>{image}</launchTemplateData></item>"
        )
    };
    let versions = |items: &[String]| {
        let items = items.concat();
        format!(
            "<DescribeLaunchTemplateVersionsResponse><launchTemplateVersionSet>{items}\
             </launchTemplateVersionSet></DescribeLaunchTemplateVersionsResponse>"
        )
    };
    let fleets = include_str!("bodies/describe_fleets.xml");
    let of_fleets = versions(&[version(3, "<imageId>ami-4</imageId>"), version(2, "")]);
    let of_groups = versions(&[version(1, "<imageId>ami-5</imageId>")]);
    let bodies = [instances, spot, fleets, templates, of_fleets.as_str(), of_groups.as_str()];
    let stub = Stub::answering(bodies.map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let found = drive(&clock, Box::pin(aws.references())).await.expect("listed");

    let instance = |id: &str, state: &str| Reference::Instance { id: id.into(), state: state.into() };
    let version = |id: &str, version| Reference::Template { id: id.into(), version };
    let named = [
        (instance("i-1", "running"), "ami-1"),
        (instance("i-2", "stopped"), "ami-2"),
        (version("lt-fleets", 3), "ami-4"),
        (version("lt-groups", 1), "ami-5"),
    ];
    assert_eq!(found.named, named.map(|(by, to)| Referred { by, to: to.into() }));
    let seen = |name: &str, default, versions: &[i64], of_a_group| TemplateSeen {
        name: name.into(),
        default: Some(default),
        versions: versions.iter().copied().collect(),
        of_a_group,
    };
    assert_eq!(
        found.templates.into_iter().collect::<Vec<_>>(),
        [
            ("lt-fleets".to_owned(), seen("web", 2, &[2, 3], false)),
            ("lt-groups".to_owned(), seen("group", 1, &[1], true)),
        ]
    );
    let launches = |fleet: &str, template: &str, version: &str| Launches {
        fleet: fleet.into(),
        template: template.into(),
        version: Some(version.into()),
    };
    let of_the_body = "fleet-12a34b55-67cd-8ef9-ba9b-9208dEXAMPLE";
    assert_eq!(
        found.launches,
        [launches("sfr-1", "web", "$Latest"), launches(of_the_body, "lt-0a1b2c3d4e5f60718", "7")]
    );
}
