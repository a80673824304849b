//! This node: what is known of it, and whom its steps ask.

use crate::drive::{Looked, Made, Notes, Works};
use crate::host::Host;
use crate::imds::Imds;
use crate::progress::Damaged;
use crate::status::{Drift, Status, Who};
use crate::{left, metrics, steps};
use bootstrap_config::{Loaded, Settings, VaultAws};
use bootstrap_core::awx::Callback;
use bootstrap_core::{Entry, Failure, Inputs, OnFailure, Plan, Report, Secret, Step};
use bootstrap_vault::LoginRequest;
use fleet::ports::Clock;
use fleet::{InstanceId, Timestamp};
use fleet_identity::Document;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The loop of the notices goes round every second: who has not for so long hangs.
const LOOKS_WITHIN: Duration = Duration::from_secs(10);

/// A parameter of SSM.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// A fragment of configuration.
    pub text: String,
}

/// An answer that comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// What the steps ask of AWS, as the instance's role.
pub trait Aws: Send + Sync {
    /// The parameters of a path that are no SecureStrings, in the order of their names.
    fn parameters<'a>(
        &'a self,
        region: &'a str,
        endpoint: Option<&'a str>,
        path: &'a str,
    ) -> Later<'a, Vec<Parameter>>;
    /// The value of a SecureString.
    fn secret<'a>(&'a self, region: &'a str, endpoint: Option<&'a str>, name: &'a str) -> Later<'a, Secret>;
    /// Signs a login of Vault's: STS's GetCallerIdentity. * `at`: wall time.
    fn sign_login<'a>(
        &'a self,
        region: &'a str,
        whom: &'a VaultAws,
        at: Timestamp,
    ) -> Later<'a, LoginRequest>;
    /// Gives the instance a tag. * `at`: wall time.
    fn tag<'a>(
        &'a self,
        region: &'a str,
        instance: &'a InstanceId,
        key: &'a str,
        value: &'a str,
        at: Timestamp,
    ) -> Later<'a, ()>;
}

/// Where the agent keeps and finds things.
#[derive(Clone, Debug)]
pub struct Directories {
    /// The configuration's file; its `conf.d` stands beside it.
    pub config: PathBuf,
    /// What survives a reboot: `/var/lib/muster`.
    pub state: PathBuf,
    /// What does not, on tmpfs: `/run/muster`.
    pub run: PathBuf,
}

/// An instance that AWS's signature has proved.
#[derive(Clone, Debug)]
pub struct Proved {
    /// What was signed.
    pub document: Document,
    /// The same with its signature, to show to others.
    pub pkcs7: String,
    /// `spot` or `on-demand`, unsigned.
    pub life_cycle: Option<String>,
}

/// What Nomad's servers said of work on this node when they were last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Whether new work may land on it.
    pub eligible: bool,
    /// Whether its work is drained, or was.
    pub drains: bool,
    /// Whether that is over: all of it has been told to end, and no more comes.
    pub drained: bool,
}

#[derive(Debug, Default)]
struct Known {
    proved: Option<Arc<Proved>>,
    loaded: Option<Arc<Loaded>>,
    /// The steps whose failure keeps work away, and whether that says that the node is unhealthy.
    withheld: BTreeMap<Step, bool>,
    alarms: BTreeMap<Cow<'static, str>, String>,
    notices: Vec<String>,
    drift: Option<Drift>,
    ready: Option<Timestamp>,
    /// Whether a process before this one was ready.
    served: bool,
    /// What this process has made of which inputs.
    applied: BTreeMap<Step, Inputs>,
    /// Whose agents this process has started last, with which inputs.
    started: BTreeMap<Step, Inputs>,
    /// When the file that a step's agent is started from was last seen to be as it should be.
    kept: BTreeMap<Step, Timestamp>,
    callback: Callback,
    waits: BTreeMap<Step, String>,
    /// The instance is interrupted.
    interrupted: bool,
    work: Option<Work>,
    /// Until when the client of Nomad, which was told to leave, is not started again at least.
    left: Option<Timestamp>,
    /// The tag that the instance was given by this process.
    tagged: Option<Inputs>,
    /// When the loop of the notices went round last, in monotonic time.
    looked: Duration,
}

/// This node.
pub struct Node {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The metadata service.
    pub imds: Imds,
    /// Held by whoever configures and restarts Nomad's client, until that is done; says when it was last, in monotonic time.
    pub client: Arc<tokio::sync::Mutex<Option<Duration>>>,
    /// Who does what needs root.
    pub host: Arc<dyn Host>,
    /// AWS.
    pub aws: Arc<dyn Aws>,
    /// Files.
    pub directories: Directories,
    base: Settings,
    started: Timestamp,
    process_started: Option<u64>,
    known: Mutex<Known>,
    pub(crate) vault: tokio::sync::Mutex<Option<steps::Held>>,
    reports: watch::Sender<Option<Report>>,
    /// Consequences of failed steps, for whoever carries them out.
    consequences: tokio::sync::mpsc::UnboundedSender<Consequence>,
}

/// Something that the failure of a step, or its end, means for the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// No new work is to land here.
    Withhold {
        /// For this step.
        step: Step,
        /// Others are to be told that the node is unhealthy.
        unhealthy: bool,
        /// Why.
        why: String,
    },
    /// Work may land again, as far as this step is concerned.
    Restore {
        /// The step.
        step: Step,
    },
    /// The instance is to end.
    Terminate {
        /// For this step.
        step: Step,
        /// Why.
        why: String,
    },
}

impl Node {
    /// A node of which nothing is known but its files.
    ///
    /// * `base`: what the image's files say, which holds until the configuration is known.
    /// * returns: the node; its reports, the last one at any time; what failed steps mean.
    pub fn new(
        base: Settings,
        directories: Directories,
        clock: Arc<dyn Clock>,
        imds: Imds,
        host: Arc<dyn Host>,
        aws: Arc<dyn Aws>,
    ) -> (Arc<Self>, watch::Receiver<Option<Report>>, tokio::sync::mpsc::UnboundedReceiver<Consequence>) {
        let (reports, seen) = watch::channel(None);
        // Bounded by the boot: each step has one consequence until it stands again.
        let (consequences, acted) = tokio::sync::mpsc::unbounded_channel();
        let started = clock.wall();
        let known = Known { left: left::until(&directories.run), ..Known::default() };
        let (known, vault) = (Mutex::new(known), tokio::sync::Mutex::default());
        let process_started = crate::status::started_of(std::process::id());
        let node = Self {
            clock,
            imds,
            client: Arc::default(),
            host,
            aws,
            directories,
            base,
            started,
            process_started,
            known,
            vault,
            reports,
            consequences,
        };
        (Arc::new(node), seen, acted)
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        // Nothing in here is left half done by a panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the image's files say.
    pub const fn base(&self) -> &Settings {
        &self.base
    }
    /// What holds: the whole configuration once it is known, the files' until then.
    pub fn settings(&self) -> Settings {
        self.locked().loaded.as_ref().map_or_else(|| self.base.clone(), |loaded| loaded.settings.clone())
    }
    /// The configuration, once it is known.
    pub fn loaded(&self) -> Option<Arc<Loaded>> {
        self.locked().loaded.clone()
    }
    pub(crate) fn set_loaded(&self, loaded: Loaded) {
        let mut known = self.locked();
        if known.loaded.as_ref().is_none_or(|before| before.settings != loaded.settings) {
            // Questions to root may be others by now, and what is asked no more is answered no more. Where one still has no
            // answer, the next look says so.
            known.alarms.retain(|about, _| matches!(about, Cow::Borrowed(_)));
        }
        known.loaded = Some(Arc::new(loaded));
    }
    /// Who this is, once that is proved.
    pub fn proved(&self) -> Option<Arc<Proved>> {
        self.locked().proved.clone()
    }
    /// Who this is; every step but the first ones comes after that is proved.
    pub(crate) fn identity(&self) -> Result<Arc<Proved>, Failure> {
        self.proved().ok_or_else(|| {
            Failure::new(fleet::ErrorClass::Conflict, "who this instance is is not proved yet")
        })
    }
    pub(crate) fn set_proved(&self, proved: Proved) {
        self.locked().proved = Some(Arc::new(proved));
    }
    /// Whether a failed step keeps work away.
    pub fn is_withheld(&self) -> bool {
        !self.locked().withheld.is_empty()
    }
    /// Whether a failed step says that the node is unhealthy.
    pub fn is_unhealthy(&self) -> bool {
        self.locked().withheld.values().any(|unhealthy| *unhealthy)
    }
    /// Says, or takes back (`None`), what an operator has to look at.
    pub fn alarm(&self, about: impl Into<Cow<'static, str>>, what: Option<String>) {
        let (about, mut known) = (about.into(), self.locked());
        match what {
            Some(what) => known.alarms.insert(about, what),
            None => known.alarms.remove(&about),
        };
    }
    /// What an operator has to look at, in words.
    pub fn alarms(&self) -> Vec<String> {
        self.locked().alarms.values().cloned().collect()
    }
    /// The notices that hold, in words.
    pub fn notices(&self) -> Vec<String> {
        self.locked().notices.clone()
    }
    /// Other notices hold.
    pub fn set_notices(&self, notices: Vec<String>) {
        self.locked().notices = notices;
        self.publish();
    }
    /// The last run of AWX's job after the boot.
    pub fn drift(&self) -> Option<Drift> {
        self.locked().drift.clone()
    }
    pub(crate) fn set_drift(&self, drift: Drift) {
        self.locked().drift = Some(drift);
    }
    /// Whether this process has made a step so, of these inputs.
    pub(crate) fn is_applied(&self, step: Step, inputs: &Inputs) -> bool {
        self.locked().applied.get(&step) == Some(inputs)
    }
    pub(crate) fn set_applied(&self, step: Step, inputs: Option<Inputs>) {
        let mut known = self.locked();
        match inputs {
            Some(inputs) => known.applied.insert(step, inputs),
            None => known.applied.remove(&step),
        };
    }
    /// Whether this process has started a step's agent, last with these inputs.
    pub(crate) fn has_started(&self, step: Step, inputs: &Inputs) -> bool {
        self.locked().started.get(&step) == Some(inputs)
    }
    /// * `inputs`: `None`: it has to be started again, whatever it says.
    pub(crate) fn set_started(&self, step: Step, inputs: Option<Inputs>) {
        let mut known = self.locked();
        match inputs {
            Some(inputs) => known.started.insert(step, inputs),
            None => known.started.remove(&step),
        };
    }
    /// When the file that a step's agent is started from was last seen to be as it should be, by this process.
    pub(crate) fn kept(&self, step: Step) -> Option<Timestamp> {
        self.locked().kept.get(&step).copied()
    }
    pub(crate) fn set_kept(&self, step: Step, at: Timestamp) {
        self.locked().kept.insert(step, at);
    }
    /// Says what a step waits for: in the status at once, and of its failure where it is cut off.
    pub(crate) fn awaits(&self, step: Step, what: &str) {
        let before = self.locked().waits.insert(step, what.to_owned());
        if before.as_deref() != Some(what) {
            self.publish();
        }
    }
    /// Says what a step waits for, and waits for a moment.
    pub(crate) fn wait(
        &self,
        step: Step,
        what: &str,
        pause: Duration,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.awaits(step, what);
        tracing::debug!(%step, pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), "a step waits");
        self.clock.sleep_until(self.clock.monotonic() + pause)
    }
    /// The conversation with AWX's callback, over all attempts.
    pub(crate) fn callback<T>(&self, with: impl FnOnce(&mut Callback) -> T) -> T {
        with(&mut self.locked().callback)
    }
    /// Whether the instance is interrupted.
    pub(crate) fn set_interrupted(&self, interrupted: bool) {
        self.locked().interrupted = interrupted;
    }
    pub(crate) fn set_work(&self, work: Work) {
        if self.locked().work.replace(work) != Some(work) {
            let Work { eligible, drains, drained } = work;
            tracing::info!(eligible, drains, drained, "Nomad's servers say of work on this node");
        }
    }
    /// There is nobody any more who would say it.
    pub(crate) fn forget_work(&self) {
        self.locked().work = None;
    }
    /// Whether its work goes elsewhere: the instance is interrupted, or Nomad drains it, whoever asked for that.
    pub fn is_leaving(&self) -> bool {
        let known = self.locked();
        known.interrupted || known.left.is_some() || known.work.is_some_and(|work| work.drains)
    }
    /// Whether nothing is to be begun on it any more: it is leaving, or no new work may land here.
    pub fn is_going(&self) -> bool {
        self.is_leaving() || self.locked().work.is_some_and(|work| !work.eligible)
    }
    /// A number of this node's own, for what a fleet should not do at once.
    pub fn seed(&self) -> u64 {
        let proved = self.proved();
        let id = proved.as_ref().map_or("", |proved| proved.document.instance.as_str());
        crate::seed_of(id)
    }
    /// The loop of the notices goes round.
    pub(crate) fn looked(&self) {
        let now = self.clock.monotonic();
        self.locked().looked = now;
    }
    /// Whether somebody watches for notices: that loop went round lately.
    pub fn is_watched(&self) -> bool {
        self.clock.monotonic() <= self.locked().looked + LOOKS_WITHIN
    }
    /// Whether the client of Nomad was told to leave: nobody starts it again.
    pub fn has_left(&self) -> bool {
        self.locked().left.is_some()
    }
    /// Until when that holds at least; `None`: it was not told to.
    pub(crate) fn left_until(&self) -> Option<Timestamp> {
        self.locked().left
    }
    /// It is told to leave: the next boot knows.
    pub(crate) fn set_left(&self, until: Timestamp) {
        self.locked().left = Some(until);
        left::write(&self.directories.state, until);
    }
    /// It is being told: the next process of the agent does not tell it again. A second signal would cut its drain.
    pub(crate) fn keep_left(&self, until: Timestamp) {
        left::write(&self.directories.run, until);
    }
    /// It was not: whoever comes next tells it.
    pub(crate) fn was_not_told(&self) {
        left::forget(&self.directories.run);
    }
    /// The instance stays after all: the client may be started again.
    pub(crate) fn stays(&self) {
        self.locked().left = None;
        left::forget(&self.directories.run);
    }
    /// Whether the client has drained itself as it left: Nomad's servers keep a node that did ineligible.
    pub(crate) fn is_drained_for_good(&self) -> bool {
        left::until(&self.directories.state).is_some()
    }
    /// What Nomad has of this node is another one from now on.
    pub(crate) fn is_new_in_nomad(&self) {
        left::forget(&self.directories.state);
    }
    /// Whether this process has given the instance a tag.
    pub(crate) fn is_tagged(&self, tag: &Inputs) -> bool {
        self.locked().tagged.as_ref() == Some(tag)
    }
    pub(crate) fn set_tagged(&self, tag: Inputs) {
        self.locked().tagged = Some(tag);
    }
    /// Whether it was ready once.
    pub fn is_ready(&self) -> bool {
        self.locked().ready.is_some()
    }
    /// Whether it was ready once in this boot, in this process or one before it: there may be work here.
    pub(crate) fn has_served(&self) -> bool {
        let known = self.locked();
        known.ready.is_some() || known.served
    }
    /// Takes up what a process before this one has left.
    pub(crate) fn set_served(&self, served: bool) {
        self.locked().served = served;
    }
    /// * `at`: since when.
    pub(crate) fn set_ready(&self, at: Timestamp) {
        self.locked().ready.get_or_insert(at);
    }

    /// What `status` shows now; `None` before the first report.
    pub fn status(&self) -> Option<Status> {
        let report = self.reports.borrow().clone()?;
        let known = self.locked();
        let who = known.proved.as_ref().map(|proved| Who {
            instance: proved.document.instance.clone(),
            image: proved.document.image.clone(),
            instance_type: proved.document.instance_type.clone(),
            region: proved.document.region.to_string(),
            life_cycle: proved.life_cycle.clone(),
            launched: proved.document.pending,
        });
        Some(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            process_started: self.process_started,
            verify_seconds: known
                .loaded
                .as_ref()
                .map_or(&self.base, |loaded| &loaded.settings)
                .watch
                .verify
                .as_secs(),
            started: self.started,
            updated: self.clock.wall(),
            who,
            ready: known.ready,
            notices: known.notices.clone(),
            drift: known.drift.clone(),
            alarms: known.alarms.values().cloned().collect(),
            waits: known.waits.clone(),
            hides_tails: false,
            report,
        })
    }

    /// Writes status and metrics. What cannot be written is for the log: nothing depends on it.
    pub fn publish(&self) {
        let Some(status) = self.status() else { return };
        if let Err(error) = status.write(&self.directories.run) {
            tracing::warn!(%error, "could not write the status");
        }
        if let Err(error) = metrics::write(&status, &self.directories.run) {
            tracing::warn!(%error, "could not write the metrics");
        }
    }

    fn consequence(&self, consequence: Consequence) {
        // Whoever carries it out ends with the process.
        let _ = self.consequences.send(consequence);
    }
}

impl Works for Node {
    async fn check(&self, step: Step, last: Option<Entry>) -> Looked {
        steps::check(self, step, last).await
    }
    async fn apply(&self, step: Step, last: Option<Entry>, notes: Notes) -> Made {
        let made = steps::apply(self, step, last, notes).await;
        self.locked().waits.remove(&step);
        made
    }
    fn waits_for(&self, step: Step) -> Option<String> {
        self.locked().waits.remove(&step)
    }
    fn instance(&self) -> Option<InstanceId> {
        self.proved().map(|proved| proved.document.instance.clone())
    }
    fn plans(&self) -> BTreeMap<Step, Plan> {
        if let Some(loaded) = self.loaded() {
            return loaded.settings.plans();
        }
        // The others wait until it is known whether they are wanted.
        let first = [Step::Identity, Step::Time, Step::Configuration];
        self.base.plans().into_iter().filter(|(step, _)| first.contains(step)).collect()
    }
    fn verify_every(&self) -> Duration {
        self.settings().watch.verify
    }
    fn act(&self, step: Step, policy: OnFailure, failure: &Failure) {
        tracing::error!(%step, policy = policy.name(), %failure, "a step could not be done");
        let why = format!("{step}: {failure}");
        match policy {
            OnFailure::Retry | OnFailure::Ignore => {}
            OnFailure::Quarantine | OnFailure::Unhealthy => {
                let unhealthy = policy == OnFailure::Unhealthy;
                self.locked().withheld.insert(step, unhealthy);
                self.consequence(Consequence::Withhold { step, unhealthy, why });
            }
            OnFailure::Terminate => {
                self.locked().withheld.insert(step, true);
                self.consequence(Consequence::Terminate { step, why });
            }
        }
    }
    fn recovered(&self, step: Step) {
        tracing::info!(%step, "a step that had failed stands");
        if self.locked().withheld.remove(&step).is_some() {
            self.consequence(Consequence::Restore { step });
        }
    }
    fn found_on_disk(&self, damaged: &[Damaged], others: &[InstanceId]) {
        let lines: Vec<String> =
            damaged.iter().map(|damaged| format!("{}: {}", damaged.path.display(), damaged.why)).collect();
        for line in &lines {
            tracing::warn!(file = line, "a line of the progress is damaged");
        }
        self.alarm(
            "progress",
            (!lines.is_empty()).then(|| format!("damaged progress: {}", lines.join("; "))),
        );
        for other in others {
            tracing::info!(instance = %other, "this disk is a copy of another instance's");
        }
    }
    fn report(&self, report: &Report) {
        self.reports.send_replace(Some(report.clone()));
        self.publish();
    }
}
