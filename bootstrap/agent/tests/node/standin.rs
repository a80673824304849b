//! A node that asks a metadata service which a test plays.

use bootstrap_agent::host::{Answering, Done, Host, Request};
use bootstrap_agent::imds::Imds;
use bootstrap_agent::node::{Aws, Consequence, Directories, Later, Node, Parameter};
use bootstrap_config::{IdentitySettings, Settings, VaultAws};
use bootstrap_core::{Failure, Secret};
use bootstrap_vault::LoginRequest;
use fleet::ports::Clock;
use fleet::{ErrorClass, InstanceId, Timestamp};
use fleet_clock::SteppedClock;
use muster_test_servers::{Asked, StandIn};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// How often a token was asked for.
pub fn tokens(service: &StandIn) -> usize {
    service.times("PUT /latest/api/token")
}

/// The token that a request bears.
pub fn token_of(asked: &Asked) -> Option<&str> {
    asked.header("x-aws-ec2-metadata-token")
}

/// Root's hands on paper.
#[derive(Default)]
pub struct Paper {
    pub asked: Mutex<Vec<Request>>,
    /// What happens when a unit is acted upon.
    pub then: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Host for Paper {
    fn ask(&self, request: Request) -> Answering<'_> {
        self.asked.lock().expect("whole").push(request);
        if let Some(then) = &*self.then.lock().expect("whole") {
            then();
        }
        Box::pin(std::future::ready(Ok(Done::Changed)))
    }
}

/// An AWS that is never asked.
struct NoAws;

fn never<T>() -> Result<T, Failure> {
    Err(Failure::new(ErrorClass::Denied, "there is no AWS here"))
}

impl Aws for NoAws {
    fn parameters<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a str) -> Later<'a, Vec<Parameter>> {
        Box::pin(async { never() })
    }
    fn secret<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a str) -> Later<'a, Secret> {
        Box::pin(async { never() })
    }
    fn sign_login<'a>(&'a self, _: &'a str, _: &'a VaultAws, _: Timestamp) -> Later<'a, LoginRequest> {
        Box::pin(async { never() })
    }
    fn tag<'a>(
        &'a self,
        _: &'a str,
        _: &'a InstanceId,
        _: &'a str,
        _: &'a str,
        _: Timestamp,
    ) -> Later<'a, ()> {
        Box::pin(async { never() })
    }
}

/// A metadata service of these endpoints.
pub fn imds(endpoints: &[String], clock: &SteppedClock) -> Imds {
    let settings = IdentitySettings { endpoints: endpoints.to_vec(), ..IdentitySettings::default() };
    Imds::new(&settings, Arc::new(clock.clone())).expect("a client")
}

/// A node of these settings, with its metadata service.
pub struct Bench {
    pub node: Arc<Node>,
    pub clock: SteppedClock,
    pub host: Arc<Paper>,
    pub consequences: mpsc::UnboundedReceiver<Consequence>,
    pub service: StandIn,
    _place: tempfile::TempDir,
}

impl Bench {
    pub fn new(service: StandIn, base: Settings, at: Timestamp) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let clock = SteppedClock::new(at);
        let directories = Directories {
            config: place.path().join("bootstrap.hcl"),
            state: place.path().join("state"),
            run: place.path().join("run"),
        };
        let host = Arc::<Paper>::default();
        let imds = imds(&[service.address()], &clock);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let (node, _, consequences) =
            Node::new(base, directories, shared, imds, Arc::clone(&host) as Arc<dyn Host>, Arc::new(NoAws));
        Self { node, clock, host, consequences, service, _place: place }
    }
}
