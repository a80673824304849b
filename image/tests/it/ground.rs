//! The loopback cloud, and accounts that see it: whole ones, and one that dies.

use fleet::ports::{Answer, Clock};
use fleet::{ApiError, ErrorClass, Timestamp};
use fleet_aws::{Aws, AwsConfig, Credentials, Endpoints, Image, Parameter, References, Secret, Snapshot};
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer, ImageSpec};
use fleet_sim::{World, WorldSpec};
use muster_image::account::Account;
use muster_image::channel::{self, Change, Channel, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub struct Ground {
    pub server: CloudServer,
    pub clock: Arc<SystemClock>,
}

impl Ground {
    /// An account with what the world needs, whose time is the host's.
    pub async fn new() -> Self {
        Self::of(WorldSpec { throttling: false, ..WorldSpec::default() }).await
    }

    pub async fn of(spec: WorldSpec) -> Self {
        let clock = Arc::new(SystemClock::new());
        let world = Arc::new(Mutex::new(World::new(spec, 7, clock.wall())));
        let config = CloudConfig { speed: Some(1.0), ..CloudConfig::new(world, clock.clone()) };
        Self { server: CloudServer::start(config).await.expect("it starts"), clock }
    }

    /// Somebody who signs, with a budget of their own.
    pub async fn account(&self) -> Aws {
        static SEED: AtomicU64 = AtomicU64::new(1);
        let mut config = AwsConfig::new("eu-west-1".into());
        config.endpoints = Endpoints::all(self.server.endpoint());
        config.credentials = Credentials::Static {
            access_key_id: "muster".into(),
            secret_access_key: Secret::new("muster-secret"),
        };
        config.seed = SEED.fetch_add(1, Ordering::Relaxed);
        Aws::connect(config, self.clock.clone()).await
    }

    /// A node's image of so many days, deprecated since so many. * returns: its id, and its snapshot's.
    pub fn image(&self, name: &str, age: u32, deprecated: Option<u32>) -> (String, String) {
        let tags = [("muster:image", "node"), ("muster:commit", "0123abc"), ("muster:playbook", "p1")];
        self.server.put_image(&ImageSpec {
            name: name.to_owned(),
            age_seconds: age * 86_400,
            deprecated_seconds: deprecated.map(|days| days * 86_400),
            tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..ImageSpec::default()
        })
    }

    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }
}

pub fn stable() -> Channel {
    Channel::new("/muster/images", "stable").expect("a name")
}

pub fn wanted(image: &str) -> Wanted {
    Wanted::Image { image: image.to_owned(), change: Change::Published, again: false }
}

/// What tells attempts apart.
pub fn attempt() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

/// The image of a channel: its journal's and its parameter's, which must be the same.
pub async fn settled(account: &dyn Account, channel: &Channel) -> Option<String> {
    let seen = channel::look(account, channel).await.expect("it can be looked at");
    let journal = seen.journal.current().map(|entry| entry.image.clone());
    assert_eq!(
        seen.parameter.map(|parameter| parameter.value),
        journal,
        "the parameter says what the journal does"
    );
    journal
}

/// An account of somebody who is killed: after so many calls nothing of theirs reaches AWS any more, whatever they try.
pub struct Dying {
    of: Aws,
    left: AtomicUsize,
    /// Whether the last call takes effect without their learning of it.
    last_takes_effect: bool,
}

impl Dying {
    pub fn after(of: Aws, calls: usize, last_takes_effect: bool) -> Self {
        Self { of, left: AtomicUsize::new(calls), last_takes_effect }
    }

    fn die<'a, T: Send + 'a>(&'a self, call: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            let left = self.left.load(Ordering::Relaxed);
            let killed =
                || ApiError::new(ErrorClass::Denied, "test", "killed", None, "the process was killed");
            match left {
                0 => return Err(killed()),
                1 if self.last_takes_effect => {
                    self.left.store(0, Ordering::Relaxed);
                    let _ = call.await;
                    return Err(killed());
                }
                left => self.left.store(left - 1, Ordering::Relaxed),
            }
            call.await
        })
    }
}

impl Account for Dying {
    fn images<'a>(&'a self, tag: &'a str) -> Answer<'a, Vec<Image>> {
        self.die(Box::pin(self.of.images(tag)))
    }
    fn image<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Image>> {
        self.die(Box::pin(self.of.image(id)))
    }
    fn shared_with<'a>(&'a self, image: &'a str) -> Answer<'a, BTreeSet<String>> {
        self.die(Box::pin(self.of.shared_with(image)))
    }
    fn share<'a>(&'a self, image: &'a str, accounts: &'a BTreeSet<String>) -> Answer<'a, ()> {
        self.die(Box::pin(self.of.share(image, accounts)))
    }
    fn tag<'a>(&'a self, resource: &'a str, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        self.die(Box::pin(self.of.tag(resource, tags)))
    }
    fn deprecate<'a>(&'a self, image: &'a str, at: Timestamp) -> Answer<'a, ()> {
        self.die(Box::pin(self.of.deprecate(image, at)))
    }
    fn deregister<'a>(&'a self, image: &'a str) -> Answer<'a, ()> {
        self.die(Box::pin(self.of.deregister(image)))
    }
    fn snapshots<'a>(&'a self, tag: &'a str) -> Answer<'a, Vec<Snapshot>> {
        self.die(Box::pin(self.of.snapshots(tag)))
    }
    fn delete_snapshot<'a>(&'a self, snapshot: &'a str) -> Answer<'a, ()> {
        self.die(Box::pin(self.of.delete_snapshot(snapshot)))
    }
    fn references(&self) -> Answer<'_, References> {
        self.die(Box::pin(self.of.references()))
    }
    fn parameter<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Parameter>> {
        self.die(Box::pin(self.of.parameter(name)))
    }
    fn parameters<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<Parameter>> {
        self.die(Box::pin(self.of.parameters(path)))
    }
    fn parameters_beneath<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<Parameter>> {
        self.die(Box::pin(self.of.parameters_beneath(path)))
    }
    fn create_parameter<'a>(&'a self, name: &'a str, value: &'a str, about: &'a str) -> Answer<'a, ()> {
        self.die(Box::pin(self.of.create_parameter(name, value, about)))
    }
    fn set_parameter<'a>(&'a self, name: &'a str, value: &'a str, about: &'a str) -> Answer<'a, i64> {
        self.die(Box::pin(self.of.set_parameter(name, value, about)))
    }
    fn delete_parameter<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        self.die(Box::pin(self.of.delete_parameter(name)))
    }
}
