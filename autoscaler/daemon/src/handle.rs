//! What everybody else holds of a daemon: to ask it, to order it about, to know when it is idle.

use crate::config::{Connect, RegionPorts};
use crate::http::{self, Access, Tls, Unanswered};
use crate::idle::Activity;
use crate::metrics::Metrics;
use crate::policies::ReloadReply;
use crate::queue::{Ask, Envelope, Happened, NoticeError, OrderError};
use autoscaler_engine::{
    Command, CommandError, Decided, EngineMetrics, FleetStatus, InstanceSeen, Planner, Rejection, Status,
};
use autoscaler_journal::{JournalError, Reader, Start};
use fleet::ports::Clock;
use fleet::wire::{NoticeBatch, NoticesAccepted, SampleBatch, SamplesAccepted};
use fleet::{AlarmView, ApiError, ErrorClass, FleetName, ImageId, InstanceId, News, Region, Timestamp};
use fleet_identity::Described;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::sync::{Semaphore, oneshot, watch};

/// A daemon, to whoever does not own it. Clones are the same daemon.
///
/// Nothing in here waits for room: where there is none, the answer is [`Unanswered::Busy`].
#[derive(Clone)]
pub struct Handle {
    pub(crate) asks: Sender<Envelope<Ask>>,
    pub(crate) reloads: Sender<Envelope<ReloadReply>>,
    pub(crate) happened: UnboundedSender<Envelope<Happened>>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) state: Option<PathBuf>,
    pub(crate) planner: Planner,
    pub(crate) stopping: watch::Receiver<bool>,
    /// Places for readers of the journal.
    pub(crate) readers: Arc<Semaphore>,
    /// The clouds, for what is asked of them outside of any cycle.
    pub(crate) connect: Arc<dyn Connect>,
}

/// Why policies were not reloaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// They are wrong; those of before stay in force.
    #[error("load policies:\n{problems}")]
    Wrong {
        /// Everything that is wrong, rendered for people.
        problems: String,
    },
    /// The daemon is busy with earlier reloads, or stopping.
    #[error("reach the daemon")]
    Unreachable(#[source] Unanswered),
}

impl Handle {
    /// Hands over an agent's samples. `peer`: the address that they came from.
    pub async fn samples(
        &self,
        peer: IpAddr,
        batch: SampleBatch,
    ) -> Result<Result<SamplesAccepted, Rejection>, Unanswered> {
        self.ask(|reply| Ask::Samples { peer, batch, reply }).await
    }

    /// Hands over an agent's notices; answered once they are on disk. `peer`: the address that they came from.
    pub async fn notices(
        &self,
        peer: IpAddr,
        batch: NoticeBatch,
    ) -> Result<Result<NoticesAccepted, Rejection>, Unanswered> {
        match self.ask(|reply| Ask::Notices { peer, batch, reply }).await? {
            Ok(accepted) => Ok(Ok(accepted)),
            Err(NoticeError::Refused(rejection)) => Ok(Err(rejection)),
            Err(NoticeError::NotJournaled { message }) => Err(Unanswered::NotJournaled(message)),
        }
    }

    /// What the newest describe shows of an instance; `None` while no fleet of ours has shown it, which makes us look.
    pub async fn instance(&self, id: InstanceId) -> Result<Option<Described>, Unanswered> {
        let seen = self.ask(|reply| Ask::Instance { id, reply }).await?;
        Ok(seen.map(|InstanceSeen { id, pool, state, launched, private_ip, .. }| Described {
            id,
            zone: pool.zone,
            state,
            launched,
            private_ip,
        }))
    }

    /// Gives an order; answered once it is in force and on disk.
    pub async fn operate(&self, command: Command) -> Result<Result<(), CommandError>, Unanswered> {
        match self.ask(|reply| Ask::Operate { command, reply }).await? {
            Ok(()) => Ok(Ok(())),
            Err(OrderError::Refused(error)) => Ok(Err(error)),
            Err(OrderError::NotJournaled { message }) => Err(Unanswered::NotJournaled(message)),
        }
    }

    /// How alarms of a region's CloudWatch are, those that exist.
    pub async fn alarms(&self, region: &Region, names: &[String]) -> Result<Vec<AlarmView>, ApiError> {
        let _busy = self.activity.begin();
        let RegionPorts { metrics, .. } = self.connect.connect(region, Arc::clone(&self.clock)).await?;
        metrics.alarms(names).await
    }

    /// An image, and the one that a version of a launch template launches, as far as that may be seen: what the version
    /// says may be withheld from us.
    pub async fn images(
        &self,
        region: &Region,
        template: &str,
        version: u64,
        image: ImageId,
    ) -> Result<http::Images, ApiError> {
        let _busy = self.activity.begin();
        let RegionPorts { cloud, .. } = self.connect.connect(region, Arc::clone(&self.clock)).await?;
        let present = match cloud.image_of(template, version).await {
            Ok(present) => present,
            Err(error) if error.class() == ErrorClass::Denied => None,
            Err(error) => return Err(error),
        };
        let asked: Vec<ImageId> = present.iter().chain([&image]).cloned().collect();
        let seen = cloud.look_up_images(&asked).await?;
        let of = |id: &ImageId| seen.iter().find(|view| view.id == *id).cloned();
        Ok(http::Images { wanted: of(&image), present: present.as_ref().and_then(of) })
    }

    /// Makes a version of a launch template that is like another but for its image. Nothing launches from it yet, so it
    /// needs no plan and no journal; repeated, it gives the same version again.
    pub async fn make_version(
        &self,
        region: &Region,
        template: &str,
        source: u64,
        image: &ImageId,
    ) -> Result<u64, ApiError> {
        let _busy = self.activity.begin();
        let RegionPorts { cloud, .. } = self.connect.connect(region, Arc::clone(&self.clock)).await?;
        cloud.make_version(template, source, image, &format!("{template}-{source}-{image}")).await
    }

    /// Everything at a glance.
    pub async fn status(&self) -> Result<Status, Unanswered> {
        self.ask(|reply| Ask::Status { reply }).await
    }

    /// One fleet at a glance; `None` when no policy names it.
    pub async fn fleet(&self, name: FleetName) -> Result<Option<FleetStatus>, Unanswered> {
        self.ask(|reply| Ask::Fleet { name, reply }).await
    }

    /// The last decisions of a fleet that are worth reading, oldest first; `None` when no policy names it.
    pub async fn decisions(&self, name: FleetName) -> Result<Option<Vec<Decided>>, Unanswered> {
        self.ask(|reply| Ask::Decisions { name, reply }).await
    }

    /// The decision that was in force at a moment, made again from the journal; `None` where the journal does not
    /// reach back so far, or there is none.
    pub async fn decision_at(&self, name: FleetName, at: Timestamp) -> Result<Option<Decided>, Unanswered> {
        let Some(state) = self.state.clone() else { return Ok(None) };
        let planner = self.planner;
        // Each reader unpacks hours of records: a few at a time, or memory is whoever asks's to spend.
        let Ok(_place) = self.readers.try_acquire() else { return Err(Unanswered::Busy) };
        let _busy = self.activity.begin();
        // A reader of its own beside the writer: nothing waits for it.
        let read = tokio::task::spawn_blocking(move || explain(&state, &name, at, planner)).await;
        match read {
            Ok(Ok(decided)) => Ok(decided),
            Ok(Err(error)) => Err(Unanswered::NotReadable(crate::recorder::chain(&error))),
            Err(error) => Err(Unanswered::NotReadable(error.to_string())),
        }
    }

    /// What the engine has counted.
    pub async fn counters(&self) -> Result<EngineMetrics, Unanswered> {
        self.ask(|reply| Ask::Counters { reply }).await
    }

    /// Passes on what a source told, where nobody waits for what becomes of it.
    pub fn heard(&self, region: Region, news: Vec<News>) -> Result<(), Unanswered> {
        self.send(Ask::Heard { region, news })
    }

    /// Reads the policies again: validated first, then swapped. * returns: how many fleets there are now.
    pub async fn reload(&self) -> Result<usize, ReloadError> {
        let loaded = self.begin_reload().map_err(ReloadError::Unreachable)?;
        let loaded = loaded.await.map_err(|_| ReloadError::Unreachable(Unanswered::NotRunning))?;
        loaded.map_err(|problems| ReloadError::Wrong { problems })
    }

    /// Orders a reload; how it ends is logged, and told to whoever waits for the answer.
    pub(crate) fn begin_reload(&self) -> Result<oneshot::Receiver<Result<usize, String>>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        let order = Envelope { what: reply, busy: self.activity.begin() };
        self.reloads.try_send(order).map_err(|error| unanswered(&error))?;
        Ok(answer)
    }

    /// Begins a graceful stop; a second one changes nothing.
    pub fn stop(&self) {
        let busy = self.activity.begin();
        // Who has stopped already does not mind.
        let _ = self.happened.send(Envelope { what: Happened::Stop, busy });
    }

    /// Completes when a stop has begun: time to close what serves others.
    pub async fn stopping(&self) {
        // An error says that the daemon is gone.
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
    }

    /// Whether nothing can happen before the clock moves on; see [`Handle::idle`].
    pub fn is_idle(&self) -> bool {
        self.activity.is_idle(&*self.clock)
    }

    /// Waits until nothing can happen before the clock moves on: no message waits, and whatever is under way
    /// sleeps on the clock. A simulation moves time on then, and only then.
    pub async fn idle(&self) {
        self.activity.idle(&*self.clock).await;
    }

    /// What is measured.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The daemon's clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Serves HTTP on `listener`, over TLS or without, until a stop begins, and then what is under way.
    pub async fn serve(&self, listener: TcpListener, tls: Option<Tls>, access: Access, limits: http::Limits) {
        let router = http::router(self.clone(), access, self.metrics.clone());
        http::serve(listener, tls, router, limits, self.stopping()).await;
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.send(ask(reply))?;
        answer.await.map_err(|_| Unanswered::NotRunning)
    }

    fn send(&self, ask: Ask) -> Result<(), Unanswered> {
        let envelope = Envelope { what: ask, busy: self.activity.begin() };
        self.asks.try_send(envelope).map_err(|error| unanswered(&error))
    }
}

const fn unanswered<T>(error: &TrySendError<T>) -> Unanswered {
    match error {
        TrySendError::Full(_) => Unanswered::Busy,
        TrySendError::Closed(_) => Unanswered::NotRunning,
    }
}

/// The decision that was in force at a moment, made again from the journal in `directory`.
///
/// * returns: `None` where no cycle is that old.
pub fn explain(
    directory: &Path,
    fleet: &FleetName,
    at: Timestamp,
    planner: Planner,
) -> Result<Option<Decided>, JournalError> {
    let reader = Reader::open(directory)?;
    let mut failure = None;
    let entries = reader.entries(fleet, Start::CheckpointBefore(at)).map_while(|entry| match entry {
        Ok(entry) => Some(entry),
        Err(error) => {
            failure = Some(error);
            None
        }
    });
    let decided = autoscaler_engine::explain_at(entries, at, planner);
    match failure {
        Some(error) => Err(error),
        None => Ok(decided),
    }
}
