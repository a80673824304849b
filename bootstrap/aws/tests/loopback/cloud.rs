//! A cloud with one instance of a spot fleet, on which the agent would run.

use bootstrap_aws::{Aws, AwsOptions, Credentials, Endpoints};
use bootstrap_core::Secret;
use fleet::Timestamp;
use fleet::ports::Clock as _;
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer, FaultKind, HttpFault};
use fleet_sim::{Demand, FleetRequest, FleetSpec, World, WorldSpec, override_of};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const REGION: &str = "eu-west-1";

pub(crate) struct Cloud {
    pub(crate) server: CloudServer,
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) instance: String,
}

impl Cloud {
    pub(crate) async fn new() -> Self {
        let start = Timestamp::parse("2026-03-01T00:00:00Z").expect("a time");
        let request = FleetRequest {
            target: 1,
            overrides: vec![override_of("m5.large", 1.0)],
            ..FleetRequest::default()
        };
        let fleet =
            FleetSpec { initial: Some(1), request, load: Demand::constant(0.5), ..FleetSpec::default() };
        let mut world = World::new(WorldSpec { fleets: vec![fleet], ..WorldSpec::default() }, 7, start);
        world.advance(start + Duration::from_secs(600));
        let instance = world.shown_instances()[0].id.to_string();
        let world = Arc::new(Mutex::new(world));
        let config = CloudConfig::new(Arc::clone(&world), Arc::new(SystemClock::new()));
        let server = CloudServer::start(config).await.expect("a cloud");
        Self { server, world, instance }
    }

    pub(crate) fn options(&self) -> AwsOptions {
        let metadata = format!("{}/_imds/{}", self.server.endpoint(), self.instance);
        AwsOptions {
            endpoints: Endpoints::all(self.server.endpoint()),
            credentials: Credentials::Role { metadata },
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            ..AwsOptions::new(REGION)
        }
    }

    /// As the instance's role.
    pub(crate) fn aws(&self) -> Aws {
        Aws::new(self.options()).expect("options")
    }

    /// As who set the account up.
    pub(crate) fn static_key(&self, secret: &str) -> AwsOptions {
        let credentials = Credentials::Static {
            access_key_id: "muster".into(),
            secret_access_key: Secret::new(secret),
            session_token: None,
        };
        AwsOptions { credentials, ..self.options() }
    }

    pub(crate) async fn put(&self, name: &str, value: &str) {
        use aws_sdk_ssm::config::{BehaviorVersion, Credentials, Region};
        let config = aws_sdk_ssm::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .endpoint_url(self.server.endpoint())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(Credentials::new("muster", "muster-secret", None, None, "test"));
        let kind = aws_sdk_ssm::types::ParameterType::SecureString;
        let client = aws_sdk_ssm::Client::from_conf(config.build());
        client.put_parameter().name(name).value(value).r#type(kind).send().await.expect("it is put");
    }

    pub(crate) fn fault(&self, kind: FaultKind, action: &str) {
        self.server.set_faults(vec![HttpFault::new(kind, &[action])]);
    }
}

pub(crate) fn wall() -> Timestamp {
    SystemClock::new().wall()
}
