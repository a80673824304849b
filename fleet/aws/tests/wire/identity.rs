//! Who signs, under what name, and how regions share what they share.

use crate::stub::{Reply, Stub, clock, config, connect, drive};
use fleet::ports::Cloud as _;
use fleet::{Backend, ErrorClass, Region};
use fleet_aws::{Aws, Credentials};
use std::process::{Command, Output};
use std::sync::Arc;

const EMPTY: &str = "<DescribeFleetsResponse><requestId>r</requestId><fleetSet/></DescribeFleetsResponse>";
const STS: &str = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
    <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAFROMSTS</AccessKeyId>\
    <SecretAccessKey>s</SecretAccessKey><SessionToken>the-session</SessionToken>\
    <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>A:m</AssumedRoleId>\
    <Arn>arn:aws:sts::1:assumed-role/muster/m</Arn></AssumedRoleUser></AssumeRoleWithWebIdentityResult>\
    </AssumeRoleWithWebIdentityResponse>";
/// Tells a copy of this program that it is one, and where the server is.
const COPY: &str = "FLEET_AWS_TEST_STUB";

#[tokio::test]
async fn calls_are_signed_for_their_region_and_carry_our_name() {
    let stub = Stub::answering([EMPTY, EMPTY].map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let elsewhere = aws.for_region(&Region::new("us-east-2"));
    assert_eq!((aws.region().as_str(), elsewhere.region().as_str()), ("eu-west-1", "us-east-2"));
    for aws in [&aws, &elsewhere] {
        drive(&clock, aws.describe_fleets(&[Backend::Ec2Fleet])).await.expect("an answer");
    }
    let requests = stub.requests();
    assert!(requests[0].headers.contains("Credential=AKIDEXAMPLE/"), "{}", requests[0].headers);
    assert!(requests[0].headers.contains("/eu-west-1/ec2/aws4_request"));
    assert!(requests[1].headers.contains("/us-east-2/ec2/aws4_request"));
    assert!(requests[0].headers.contains("app/muster-"));
    assert_eq!(stub.connections(), 1, "regions share the connections to one address");
}

#[tokio::test]
async fn everyone_who_asks_for_a_region_shares_its_budget() {
    let stub = Stub::answering(vec![Reply::xml("<DescribeSpotFleetRequestsResponse/>"); 40]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let start = fleet::ports::Clock::monotonic(&clock);
    // The bucket of DescribeSpotFleetRequests is 25 at half of AWS's rate.
    for _ in 0..13 {
        for aws in [aws.for_region(&Region::new("eu-west-1")), aws.clone()] {
            drive(&clock, aws.describe_fleets(&[Backend::SpotFleet])).await.expect("an answer");
        }
    }
    let took = fleet::ports::Clock::monotonic(&clock).checked_sub(start).unwrap();
    assert_eq!(took.as_millis(), 666, "the 26th call waits for a token");
}

/// Runs one test of this program alone in a process of its own, whose environment is this and nothing else.
fn in_a_copy(test: &str, url: &str, environment: &[(&str, &str)]) -> Output {
    let program = std::env::current_exe().expect("this program has a path");
    Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .env(COPY, url)
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied())
        .output()
        .expect("this program starts")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a copy of the test program gets its orders by the environment"
)]
fn orders() -> Option<String> {
    std::env::var(COPY).ok()
}

/// A call signed by what the environment offers.
async fn call_by_the_chain(url: &str) -> Result<usize, fleet::ApiError> {
    let mut config = config(url);
    config.credentials = Credentials::Chain;
    let clock = clock();
    let aws = Aws::connect(config, Arc::new(clock.clone())).await;
    drive(&clock, aws.describe_fleets(&[Backend::Ec2Fleet])).await.map(|fleets| fleets.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_web_identity_is_turned_into_credentials_at_the_sts_that_is_configured() {
    if let Some(url) = orders() {
        call_by_the_chain(&url).await.expect("a call in the role's name");
        return;
    }
    let stub = Stub::answering([STS, EMPTY].map(Reply::xml)).await;
    let directory = std::env::temp_dir().join(format!("fleet-aws-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a place for the token");
    let token = directory.join("token");
    std::fs::write(&token, "a.jwt.token").expect("the token is written");
    let output = in_a_copy(
        "identity::a_web_identity_is_turned_into_credentials_at_the_sts_that_is_configured",
        &stub.url,
        &[
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/muster"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().expect("a plain path")),
        ],
    );
    std::fs::remove_dir_all(&directory).expect("the token is removed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let requests = stub.requests();
    let [sts, ec2] = &requests[..] else { panic!("{requests:#?}") };
    assert_eq!(sts.field("Action").as_deref(), Some("AssumeRoleWithWebIdentity"));
    assert_eq!(sts.field("WebIdentityToken").as_deref(), Some("a.jwt.token"));
    assert!(sts.headers.contains("sts.eu-west-1.amazonaws.com"), "{}", sts.headers);
    assert!(ec2.headers.contains("Credential=ASIAFROMSTS/"), "{}", ec2.headers);
    assert!(ec2.headers.contains("the-session"), "{}", ec2.headers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_credentials_an_operator_has_to_act() {
    if let Some(url) = orders() {
        let error = call_by_the_chain(&url).await.expect_err("nobody to sign");
        assert_eq!(error.class, ErrorClass::Denied, "{error}");
        return;
    }
    let stub = Stub::answering([]).await;
    let output = in_a_copy("identity::without_credentials_an_operator_has_to_act", &stub.url, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(stub.requests().is_empty());
}
