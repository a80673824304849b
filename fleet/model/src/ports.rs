//! Ports: what muster asks of the world, and what it may rely on.
//!
//! Adapters do the quick retries by error class within a call's own deadline; what reaches the caller is final
//! for this cycle. Nothing here is repeated by the caller at once.

use crate::{
    AlarmView, ApiError, Backend, FleetRef, FleetView, Health, HistoryEvent, ImageId, ImageView, Instance,
    InstanceId, InstanceState, InstanceType, MessageId, Notice, Offering, Timestamp, Utilization,
};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// The answer of a port, boxed so that ports can be chosen at run time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send + 'a>>;

/// Whether a write may be begun now (FENCE): asked immediately before each attempt, retries included.
pub type MayWrite = std::sync::Arc<dyn Fn() -> bool + Send + Sync>;

/// The one change that muster makes to a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The new total target, in the fleet's units.
    pub target: u32,
    /// The on-demand part of it; the rest is spot.
    pub on_demand_target: u32,
    /// The version of its launch template that it launches from now on, always by number; `None`: as it is. What runs
    /// stays what it was launched from.
    pub launch: Option<u64>,
}

impl Change {
    /// Another target, and what is launched stays as it is.
    pub const fn of_target(target: u32, on_demand_target: u32) -> Self {
        Self { target, on_demand_target, launch: None }
    }
}

/// The fleets and instances of one region.
///
/// Implementations keep to their call budget by themselves (PACE) and bound every call in time.
pub trait Cloud: Send + Sync {
    /// Every living fleet of these backends in the region, in one paged call a backend; recently deleted ones
    /// too, as EC2 shows them. A read: repeated freely.
    fn describe_fleets<'a>(&'a self, backends: &'a [Backend]) -> Answer<'a, Vec<FleetView>>;

    /// The instances that the fleets launched, by the fleet's tag, in all states that EC2 still shows; `terminated` ones
    /// may be among them where their end has a reason. One paged call a backend and 200 fleets. A read.
    fn describe_instances<'a>(&'a self, fleets: &'a [FleetRef]) -> Answer<'a, Vec<Instance>>;

    /// The fleet's own list of its instances, with the fleet's opinion of their health: to reconcile with.
    /// A read.
    fn fleet_instances<'a>(&'a self, fleet: &'a FleetRef) -> Answer<'a, Vec<(InstanceId, Health)>>;

    /// Sets the target, and with it always the excess-capacity policy `NoTermination`; and what is launched from now on,
    /// where the change says so.
    ///
    /// A fleet that launches from several templates, or from none, is not told which version: `Malformed`.
    ///
    /// Idempotent: sets, never adds. `Unclear`: may have happened; a describe tells. `Conflict`: the fleet is
    /// being modified or deleted. Takes effect asynchronously.
    fn modify<'a>(&'a self, fleet: &'a FleetRef, change: Change) -> Answer<'a, ()>;

    /// Terminates instances: all or, when one is unknown (`NotFound`), none.
    ///
    /// Idempotent by EC2's contract. `Unclear`: may have happened; a describe tells.
    fn terminate<'a>(&'a self, instances: &'a [InstanceId]) -> Answer<'a, Vec<(InstanceId, InstanceState)>>;

    /// Makes a version of a launch template that is like another one but for its image. Nothing launches from it yet.
    ///
    /// * `source`: the number of the version that it is like; `token`: of at most 64 characters: the same again
    ///   gives the version that was made before, so that it is safe to repeat.
    /// * returns: its number.
    fn make_version<'a>(
        &'a self,
        template: &'a str,
        source: u64,
        image: &'a ImageId,
        token: &'a str,
    ) -> Answer<'a, u64>;

    /// The image that a version of a launch template names by its id; `None` where it names none, or by a parameter.
    /// A read.
    fn image_of<'a>(&'a self, template: &'a str, version: u64) -> Answer<'a, Option<ImageId>>;

    /// Images by their ids, in any state: those that are there and may be seen by the account. A read.
    fn look_up_images<'a>(&'a self, images: &'a [ImageId]) -> Answer<'a, Vec<ImageView>>;

    /// What happened to a fleet since a time, oldest first, at most 1000 events. A read.
    fn history<'a>(&'a self, fleet: &'a FleetRef, since: Timestamp) -> Answer<'a, Vec<HistoryEvent>>;

    /// Which of the fleets are scalable targets of Application Auto Scaling: a second writer. A read.
    fn scalable_targets<'a>(&'a self, fleets: &'a [FleetRef]) -> Answer<'a, Vec<FleetRef>>;

    /// Spot prices of these types now, a pool each. A read.
    fn spot_prices<'a>(&'a self, types: &'a [InstanceType]) -> Answer<'a, Vec<Offering>>;

    /// What EC2 itself says about instances that are to go or were taken back: spot requests marked for
    /// interruption or ended by EC2, and scheduled events that lie ahead. Of the whole region, strangers too: who
    /// asks knows which are theirs. Two paged calls. A read.
    ///
    /// A spot request does not say who wanted the end: a fleet's own scale-in looks like an interruption.
    fn marks(&self) -> Answer<'_, Vec<Notice>>;
}

/// The most messages of one [`Queue::receive`] and the most receipts of one [`Queue::delete`].
pub const MESSAGES_AT_ONCE: usize = 10;

/// What a delivery of a message is deleted by. Another one each time that the message is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// A message, as one receive delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same each time that it is delivered.
    pub id: MessageId,
    /// What this delivery is deleted by.
    pub receipt: Receipt,
    /// What was sent; at most 1 MiB, by the queue's own limit.
    pub body: String,
    /// When it was sent to the queue, by the queue's clock.
    pub sent: Timestamp,
    /// How often it was delivered, this time included; 1 or more.
    pub deliveries: u32,
}

/// How much waits in a queue. Approximate: the service counts over many hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting to be received.
    pub visible: u64,
    /// Received, and neither deleted nor visible again.
    pub in_flight: u64,
}

/// A queue of messages that are delivered at least once, in any order.
///
/// Implementations bound every call in time and keep to their call budget (PACE).
pub trait Queue: Send + Sync {
    /// Receives up to [`MESSAGES_AT_ONCE`] messages; waits for a first one up to `wait` (0 to 20 s).
    ///
    /// What was received is hidden from everybody for `visibility` (0 s to 12 h), then delivered again unless it
    /// was deleted. Safe to repeat: what an answer that was lost delivered comes again after that time.
    fn receive(&self, wait: Duration, visibility: Duration) -> Answer<'_, Vec<Message>>;

    /// Deletes up to [`MESSAGES_AT_ONCE`] deliveries.
    ///
    /// * returns: those that were not deleted, in the order of `receipts`; their messages come again.
    ///
    /// Idempotent. `Unclear`: may have happened; what was not deleted comes again.
    fn delete<'a>(&'a self, receipts: &'a [Receipt]) -> Answer<'a, Vec<Receipt>>;

    /// How much waits. A read.
    fn depth(&self) -> Answer<'_, Depth>;
}

/// What to ask a metrics service for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricQuery {
    /// `AWS/EC2Spot` `CPUUtilization` by `FleetRequestId`: an unweighted mean over running instances, booting
    /// ones included.
    FleetCpu(FleetRef),
    /// `AWS/EC2` `CPUUtilization` by `InstanceId`.
    InstanceCpu(InstanceId),
    /// A metric of the operator's own, in percent.
    Custom {
        /// The namespace.
        namespace: String,
        /// The metric.
        metric: String,
        /// `Average`, `p90`, …
        statistic: String,
        /// Names and values.
        dimensions: Vec<(String, String)>,
    },
}

/// What a metrics service answered to one query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The distance of the points as the service really has them: 1 or 5 min on CloudWatch, whatever was asked
    /// for. `None` with fewer than two points.
    pub period: Option<Duration>,
    /// (start of the period, mean utilisation), oldest first, without duplicates. What was not a number is
    /// dropped; what was above 100 % is 100 %.
    pub points: Vec<(Timestamp, Utilization)>,
}

/// A metrics service of one region.
pub trait Metrics: Send + Sync {
    /// Answers up to 500 queries in one call, each over `from..to` at the finest period there is.
    ///
    /// * returns: one series a query, in order; empty where the service has nothing. A read.
    fn read<'a>(
        &'a self,
        queries: &'a [MetricQuery],
        from: Timestamp,
        to: Timestamp,
    ) -> Answer<'a, Vec<Series>>;

    /// Alarms by their names, of single metrics and composite ones: those that exist, in any order.
    ///
    /// One in a state that is not known here fails the whole: nothing is taken for well that was not said to be. A
    /// read.
    fn alarms<'a>(&'a self, names: &'a [String]) -> Answer<'a, Vec<AlarmView>>;
}

/// The one source of time. Wall time may jump; monotonic time does not.
pub trait Clock: Send + Sync {
    /// Wall time.
    fn wall(&self) -> Timestamp;
    /// Time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;
    /// Completes when [`Clock::monotonic`] has reached `at`.
    fn sleep_until(&self, at: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}
