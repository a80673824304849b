//! What the routes ask of the daemon.

use super::Images;
use crate::Handle;
use autoscaler_engine::{Command, CommandError, Decided, EngineMetrics, FleetStatus, Rejection, Status};
use fleet::wire::{NoticeBatch, NoticesAccepted, SampleBatch, SamplesAccepted};
use fleet::{AlarmView, ApiError, FleetName, ImageId, InstanceId, Region, Timestamp};
use fleet_identity::Described;
use std::net::IpAddr;

/// What the routes ask of the daemon. Every answer comes soon or is [`Unanswered`], but for the few that wait for AWS:
/// they say so.
pub trait Shell: Clone + Send + Sync + 'static {
    /// Hands an agent's batch to the engine.
    fn samples(
        &self,
        peer: IpAddr,
        batch: SampleBatch,
    ) -> impl Future<Output = Result<Result<SamplesAccepted, Rejection>, Unanswered>> + Send;

    /// Hands an agent's notices to the engine; answers when they are on disk. Repeating them changes nothing.
    fn notices(
        &self,
        peer: IpAddr,
        batch: NoticeBatch,
    ) -> impl Future<Output = Result<Result<NoticesAccepted, Rejection>, Unanswered>> + Send;

    /// What the newest describe shows of an instance; `None` while no fleet of ours has shown it, which makes us look.
    fn instance(&self, id: InstanceId) -> impl Future<Output = Result<Option<Described>, Unanswered>> + Send;

    /// Hands an operator's order to the engine; answers when it is on disk.
    fn operate(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Result<(), CommandError>, Unanswered>> + Send;

    /// How alarms of a region are, those that exist. Waits for AWS.
    fn alarms(
        &self,
        region: Region,
        names: Vec<String>,
    ) -> impl Future<Output = Result<Vec<AlarmView>, ApiError>> + Send;

    /// An image, and the one that a version of a launch template launches. Waits for AWS.
    fn images(
        &self,
        region: Region,
        template: String,
        version: u64,
        image: ImageId,
    ) -> impl Future<Output = Result<Images, ApiError>> + Send;

    /// Makes a version of a launch template that is like another but for its image; the same again gives the same
    /// version. Waits for AWS.
    fn make_version(
        &self,
        region: Region,
        template: String,
        source: u64,
        image: ImageId,
    ) -> impl Future<Output = Result<u64, ApiError>> + Send;

    /// Everything at a glance.
    fn status(&self) -> impl Future<Output = Result<Status, Unanswered>> + Send;

    /// One fleet at a glance; `None` when no policy names it.
    fn fleet(&self, name: FleetName) -> impl Future<Output = Result<Option<FleetStatus>, Unanswered>> + Send;

    /// The last decisions of a fleet, oldest first; `None` when no policy names it.
    fn decisions(
        &self,
        name: FleetName,
    ) -> impl Future<Output = Result<Option<Vec<Decided>>, Unanswered>> + Send;

    /// The decision that was in force at a moment, from the journal; `None` where none is that old.
    fn decision_at(
        &self,
        name: FleetName,
        at: Timestamp,
    ) -> impl Future<Output = Result<Option<Decided>, Unanswered>> + Send;

    /// What the engine has counted.
    fn counters(&self) -> impl Future<Output = Result<EngineMetrics, Unanswered>> + Send;

    /// Wall time: orders end by it.
    fn now(&self) -> Timestamp;
}

/// Why there is no answer. Nothing has changed, an order that could not be journaled aside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// More is waiting than can be taken; again in a second.
    #[error("busy, try again in a second")]
    Busy,
    /// The daemon is stopping, or has not started yet.
    #[error("not running, or about to stop")]
    NotRunning,
    /// The journal does not take it: what was told is in force, but would not survive a restart.
    #[error("it is in force but not on disk, where the journal fails: {0}")]
    NotJournaled(String),
    /// The journal cannot be read.
    #[error("failed to read the journal: {0}")]
    NotReadable(String),
}

impl Shell for Handle {
    async fn samples(
        &self,
        peer: IpAddr,
        batch: SampleBatch,
    ) -> Result<Result<SamplesAccepted, Rejection>, Unanswered> {
        self.samples(peer, batch).await
    }
    async fn notices(
        &self,
        peer: IpAddr,
        batch: NoticeBatch,
    ) -> Result<Result<NoticesAccepted, Rejection>, Unanswered> {
        self.notices(peer, batch).await
    }
    async fn instance(&self, id: InstanceId) -> Result<Option<Described>, Unanswered> {
        self.instance(id).await
    }
    async fn operate(&self, command: Command) -> Result<Result<(), CommandError>, Unanswered> {
        self.operate(command).await
    }
    async fn alarms(&self, region: Region, names: Vec<String>) -> Result<Vec<AlarmView>, ApiError> {
        self.alarms(&region, &names).await
    }
    async fn images(
        &self,
        region: Region,
        template: String,
        version: u64,
        image: ImageId,
    ) -> Result<Images, ApiError> {
        self.images(&region, &template, version, image).await
    }
    async fn make_version(
        &self,
        region: Region,
        template: String,
        source: u64,
        image: ImageId,
    ) -> Result<u64, ApiError> {
        self.make_version(&region, &template, source, &image).await
    }
    async fn status(&self) -> Result<Status, Unanswered> {
        self.status().await
    }
    async fn fleet(&self, name: FleetName) -> Result<Option<FleetStatus>, Unanswered> {
        self.fleet(name).await
    }
    async fn decisions(&self, name: FleetName) -> Result<Option<Vec<Decided>>, Unanswered> {
        self.decisions(name).await
    }
    async fn decision_at(&self, name: FleetName, at: Timestamp) -> Result<Option<Decided>, Unanswered> {
        self.decision_at(name, at).await
    }
    async fn counters(&self) -> Result<EngineMetrics, Unanswered> {
        self.counters().await
    }
    fn now(&self) -> Timestamp {
        self.clock().wall()
    }
}
