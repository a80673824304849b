//! AWX's step by the machine that does all steps, with its progress on disk, on time that the test moves.
//!
//! Only AWX's stand-in takes time of the host's. While it is asked nobody sleeps for less than [`SHORT`] of the test's time, so
//! that it is seen when that may go on.

use super::*;
use crate::drive::{Command, Driver, Works};
use crate::host::{Answering, Host, HostError, Request};
use crate::imds::Imds;
use crate::no_aws::NoAws;
use crate::node::{Directories, Proved, Work};
use crate::progress::{Damaged, Store};
use bootstrap_config::{IdentitySettings, Server, Settings, StepSettings};
use bootstrap_core::{OnFailure, Plan, Report, State};
use fleet::ports::Clock;
use fleet::{InstanceId, Region};
use fleet_clock::{SteppedClock, SystemClock};
use fleet_identity::Document;
use muster_test_servers::awx::{Awx, KEY, Row, TOKEN};
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

const HOUR: Duration = Duration::from_secs(3600);
/// Pauses and looks are no longer, attempts are.
const SHORT: Duration = Duration::from_secs(61);
/// Of the host's time: what takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(60);
const INSTANCE: &str = "i-0123456789abcdef0";

/// Nobody does anything that needs root.
struct Nobody;

impl Host for Nobody {
    fn ask(&self, request: Request) -> Answering<'_> {
        Box::pin(async move { Err(HostError::new(&request, ErrorClass::Denied, "nobody is there")) })
    }
}

/// A node whose other steps stand.
struct Alone {
    node: Arc<Node>,
    report: Mutex<Option<Report>>,
    acts: Mutex<Vec<(Step, OnFailure)>>,
    recovered: Mutex<Vec<Step>>,
    looks: AtomicUsize,
}

impl Works for Alone {
    async fn check(&self, step: Step, last: Option<Entry>) -> Looked {
        if step == Step::Awx {
            self.looks.fetch_add(1, Ordering::Relaxed);
            return check(&self.node, last.as_ref());
        }
        Ok((Checked::Already, Inputs::none()))
    }
    async fn apply(&self, _: Step, last: Option<Entry>, notes: Notes) -> Made {
        apply(&self.node, last, notes).await
    }
    fn waits_for(&self, step: Step) -> Option<String> {
        self.node.waits_for(step)
    }
    fn instance(&self) -> Option<InstanceId> {
        Some(InstanceId::new(INSTANCE))
    }
    fn plans(&self) -> BTreeMap<Step, Plan> {
        self.node.settings().plans()
    }
    fn verify_every(&self) -> Duration {
        self.node.settings().watch.verify
    }
    fn act(&self, step: Step, policy: OnFailure, _: &Failure) {
        self.acts.lock().expect("whole").push((step, policy));
    }
    fn recovered(&self, step: Step) {
        self.recovered.lock().expect("whole").push(step);
    }
    fn found_on_disk(&self, _: &[Damaged], _: &[InstanceId]) {}
    fn report(&self, report: &Report) {
        *self.report.lock().expect("whole") = Some(report.clone());
    }
}

/// A process of the agent.
struct Process {
    works: Arc<Alone>,
    commands: mpsc::Sender<Command>,
    running: tokio::task::JoinHandle<()>,
}

struct Bench {
    awx: Awx,
    clock: SteppedClock,
    settings: Settings,
    place: tempfile::TempDir,
    instance: String,
    process: Option<Process>,
}

impl Bench {
    /// A node that has not booted. * `change`: what its configuration says beside the defaults.
    fn new(change: impl FnOnce(&mut AwxSettings)) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let clock = SteppedClock::new(Timestamp::from_secs(1_767_225_600));
        let awx = Awx::with_clock(Arc::new(clock.clone()));
        awx.state().ends_as = "successful";
        fs::write(place.path().join("key"), KEY).expect("written");
        fs::write(place.path().join("token"), TOKEN).expect("written");
        let file = |name: &str| Some(place.path().join(name).display().to_string());
        let server = Server { address: awx.address(), token_file: file("token"), ..Server::default() };
        let mut asked = AwxSettings {
            server,
            template: 7,
            key_file: file("key"),
            jitter: Duration::ZERO,
            ..AwxSettings::default()
        };
        change(&mut asked);
        let settings = Settings { awx: Some(asked), ..Settings::default() };
        Self { awx, clock, settings, place, instance: INSTANCE.to_owned(), process: None }
    }

    fn node(&self) -> Arc<Node> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let at = |name: &str| self.place.path().join(name);
        let directories = Directories { config: at("none.hcl"), state: at("state"), run: at("run") };
        let imds = Imds::new(&IdentitySettings::default(), Arc::clone(&clock)).expect("a client");
        let (host, aws) = (Arc::new(Nobody), Arc::new(NoAws));
        let (node, _, _) = Node::new(self.settings.clone(), directories, clock, imds, host, aws);
        let document = Document {
            instance: InstanceId::new(&self.instance),
            account: "123456789012".to_owned(),
            region: Region::new("eu-west-1"),
            image: None,
            instance_type: None,
            pending: Timestamp::EPOCH,
            private_ip: None,
        };
        node.set_proved(Proved { document, pkcs7: String::new(), life_cycle: None });
        node
    }

    fn start(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let (acts, recovered, looks) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        let works = Arc::new(Alone { node: self.node(), report: Mutex::default(), acts, recovered, looks });
        let store = Store::open(&self.place.path().join("state")).expect("a store");
        let (commands, orders) = mpsc::channel(1);
        let driver = Driver::new(Arc::clone(&works), store, Arc::new(self.clock.clone()), 7);
        let running = tokio::spawn(driver.run(orders));
        self.process = Some(Process { works, commands, running });
    }

    /// As SIGKILL does.
    fn kill(&mut self) {
        self.process.take().expect("it runs").running.abort();
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }
    fn drift(&self) -> Option<Drift> {
        self.process().works.node.drift()
    }
    fn failures(&self) -> u32 {
        self.drift().map_or(0, |drift| drift.failures)
    }
    fn acts(&self) -> Vec<(Step, OnFailure)> {
        self.process().works.acts.lock().expect("whole").clone()
    }
    fn state(&self) -> State {
        let report = self.process().works.report.lock().expect("whole").clone();
        let steps = report.map(|report| report.steps).unwrap_or_default();
        steps.iter().find(|report| report.step == Step::Awx).map_or(State::Waiting, |report| report.state)
    }
    /// The line on disk.
    fn line(&self) -> Option<Entry> {
        let store = Store::open(&self.place.path().join("state")).expect("a store");
        let (progress, _) = store.load(&InstanceId::new(INSTANCE)).expect("read");
        progress.get(Step::Awx).cloned()
    }
    fn note(&self) -> Note {
        Note::of(self.line().as_ref())
    }

    /// Lets the test's time go on whenever it is what is waited for, until it is so.
    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let host = SystemClock::new();
        while !is(self) {
            assert!(host.monotonic() < PATIENCE, "waited for {what}: {:?}, {:?}", self.line(), self.drift());
            if let Some(wake) = self.clock.next_wake().filter(|wake| *wake <= self.clock.monotonic() + SHORT)
            {
                self.clock.advance_to(wake);
            }
            host.sleep_until(host.monotonic() + Duration::from_millis(1)).await;
        }
    }
    async fn until_done(&self) {
        self.until("a step that stands", |bench| {
            bench.state() == State::Done && bench.line().is_some_and(|line| line.phase == Phase::Done)
        })
        .await;
    }
    /// Lets so much time go by at once, and has everything looked at.
    async fn pass(&self, time: Duration) {
        self.clock.advance_to(self.clock.monotonic() + time);
        self.process().commands.send(Command::Verify).await.expect("it runs");
    }
    /// Has everything looked at until something was done of it, or nothing is to be done: the second look begins when all
    /// that the first has led to is over.
    async fn settle(&self) {
        let looks = |bench: &Self| bench.process().works.looks.load(Ordering::Relaxed);
        let before = looks(self);
        self.until("two looks", |bench| {
            // That the loop has enough to do is no matter.
            let _ = bench.process().commands.try_send(Command::Verify);
            looks(bench) >= before + 2
        })
        .await;
    }
    /// Lets a drift run come, which fails. * `before`: as many have failed before it.
    async fn fail_once(&self, before: u32) {
        self.pass(6 * HOUR).await;
        self.until("a run that fails", |bench| bench.failures() == before + 1).await;
    }
    fn callbacks(&self) -> usize {
        self.awx.state().callbacks
    }
    /// What a step after this one does for itself is none of this file's.
    fn step(&mut self, change: impl FnOnce(&mut StepSettings)) {
        let mut step = self.settings.step(Step::Awx);
        change(&mut step);
        self.settings.steps = vec![step];
    }
}

const DENIED: &str = r#"{"detail":"You do not have permission to perform this action."}"#;

/// Ways in which a drift run fails, each until it is taken back.
type Break = fn(&Bench);
const WAYS: [(&str, Break, Break); 4] = [
    (
        "the host config key was changed",
        |bench| bench.awx.state().rows = vec![Row::Says(403, DENIED); 1000],
        |bench| bench.awx.state().rows.clear(),
    ),
    ("AWX is gone", |bench| bench.awx.go_away(), |bench| bench.awx.come_back()),
    (
        "the API token has expired",
        |bench| bench.awx.state().jobs_say = Some((401, r#"{"detail":"expired"}"#)),
        |bench| bench.awx.state().jobs_say = None,
    ),
    (
        "the job fails",
        |bench| bench.awx.state().ends_as = "failed",
        |bench| bench.awx.state().ends_as = "successful",
    ),
];

#[tokio::test]
async fn whatever_fails_in_a_drift_run_is_the_steps_failure_only_when_enough_runs_in_a_row_have_failed() {
    for (way, breaks, mends) in WAYS {
        let mut bench = Bench::new(|_| {});
        bench.start();
        bench.until_done().await;
        breaks(&bench);
        for before in 0..2 {
            bench.fail_once(before).await;
            bench.until_done().await;
            assert_eq!(bench.acts(), [], "{way}: one of few");
            // What was counted is on disk.
            bench.kill();
            bench.start();
            bench.until_done().await;
            assert_eq!(bench.failures(), before + 1, "{way}");
        }
        bench.fail_once(2).await;
        bench.until("the consequence", |bench| bench.acts() == [(Step::Awx, OnFailure::Quarantine)]).await;
        mends(&bench);
        bench.until_done().await;
        assert_eq!((bench.failures(), bench.drift().expect("a run").outcome), (0, "ok".to_owned()), "{way}");
        assert_eq!(*bench.process().works.recovered.lock().expect("whole"), [Step::Awx], "{way}");
    }
}

#[tokio::test]
async fn a_drift_run_that_goes_well_makes_good_for_those_before_it() {
    let mut bench = Bench::new(|_| {});
    bench.start();
    bench.until_done().await;
    for _ in 0..3 {
        bench.awx.state().ends_as = "failed";
        bench.fail_once(0).await;
        bench.fail_once(1).await;
        bench.awx.state().ends_as = "successful";
        bench.pass(6 * HOUR).await;
        bench.until("a run that goes well", |bench| bench.failures() == 0).await;
        bench.until_done().await;
    }
    assert_eq!(bench.acts(), []);
}

/// A node that has booted, and whose first drift run's job does not end by itself.
async fn in_a_drift_run() -> Bench {
    let mut bench = Bench::new(|_| {});
    bench.start();
    bench.until_done().await;
    bench.awx.state().ends_as = "";
    bench.pass(6 * HOUR).await;
    bench.until("a job that runs", |bench| bench.note().runs.is_some_and(|runs| runs.job == Some(2))).await;
    bench
}

#[tokio::test]
async fn a_drift_run_whose_agent_is_killed_goes_on_as_one_and_its_failure_counts_once() {
    let mut bench = in_a_drift_run().await;
    bench.kill();
    bench.awx.end("failed", "");
    bench.start();
    bench.until_done().await;
    assert_eq!(bench.awx.state().jobs.len(), 2, "the node stands while it is looked for");
    bench.pass(Duration::ZERO).await;
    bench.until("one failure", |bench| bench.failures() == 1).await;
    bench.until_done().await;
    assert_eq!((bench.callbacks(), bench.acts()), (2, Vec::new()));
    assert!(bench.drift().expect("a run").outcome.contains("job 2 of AWX ended as failed"));
    assert_eq!((bench.note().failures, bench.note().drift), (1, None));
}

#[tokio::test]
async fn a_drift_run_whose_job_runs_is_the_only_one_whatever_is_looked_at_meanwhile() {
    let bench = in_a_drift_run().await;
    for _ in 0..2 {
        bench.pass(HOUR).await;
        bench.settle().await;
    }
    let state = bench.awx.state();
    assert_eq!((state.callbacks, state.jobs.len(), state.most_at_once), (2, 2, 1));
}

#[tokio::test]
async fn no_boot_waits_for_a_drift_run_that_was_cut_off_before_it_was_noted() {
    let mut bench = Bench::new(|_| {});
    bench.start();
    bench.until_done().await;
    bench.kill();
    // The intent is on disk, and the agent was killed before anything else was.
    let store = Store::open(&bench.place.path().join("state")).expect("a store");
    let line = Entry { phase: Phase::Intent, ..bench.line().expect("a line") };
    assert_eq!(Note::of(Some(&line)).drift, None);
    store.record(&InstanceId::new(INSTANCE), &line).expect("written");
    bench.clock.advance_to(bench.clock.monotonic() + 6 * HOUR);
    bench.awx.state().ends_as = "";
    bench.start();
    bench.until_done().await;
    assert_eq!(bench.callbacks(), 1, "the node stands as the job left it");
    // The run is made up for, in its time.
    bench.pass(6 * HOUR).await;
    bench.until("a job that runs", |bench| bench.note().runs.is_some_and(|runs| runs.job == Some(2))).await;
    assert_eq!(bench.callbacks(), 2);
    bench.awx.end("successful", "");
    bench.until("its end", |bench| bench.drift().is_some_and(|drift| drift.outcome == "ok")).await;
    assert_eq!(bench.acts(), []);
}

#[tokio::test]
async fn a_drift_runs_callback_whose_answer_is_lost_is_found_again_and_not_sent_twice() {
    for is_killed in [false, true] {
        let mut bench = Bench::new(|_| {});
        bench.start();
        bench.until_done().await;
        bench.awx.state().ends_as = "";
        bench.awx.state().rows = vec![if is_killed { Row::Hangs } else { Row::CutAfter }];
        bench.pass(6 * HOUR).await;
        bench.until("a job", |bench| bench.awx.state().jobs.len() == 2).await;
        // Who was to hear of it does not: it has to be looked for among the jobs, of which it is one that has ended.
        if is_killed {
            bench.kill();
        }
        bench.awx.end("successful", "");
        if is_killed {
            bench.start();
            bench.until_done().await;
            bench.pass(Duration::ZERO).await;
        }
        bench.until("the run's end", |bench| bench.drift().is_some()).await;
        bench.until_done().await;
        assert_eq!(bench.drift().expect("a run").outcome, "ok");
        assert_eq!((bench.callbacks(), bench.awx.state().jobs.len()), (2, 2), "killed: {is_killed}");
    }
}

/// Whether the node is to go; both ways are taken back.
const GOINGS: [fn(&Node, bool); 2] = [Node::set_interrupted, |node, goes| {
    node.set_work(Work { eligible: !goes, drains: goes, drained: false });
}];

#[tokio::test]
async fn a_node_that_is_interrupted_or_drained_asks_for_no_drift_run_and_makes_up_for_it_afterwards() {
    for set_going in GOINGS {
        let mut bench = Bench::new(|_| {});
        bench.start();
        bench.until_done().await;
        set_going(&bench.process().works.node, true);
        bench.pass(60 * HOUR).await;
        bench.settle().await;
        assert_eq!(bench.callbacks(), 1, "none is sent while it goes");
        set_going(&bench.process().works.node, false);
        bench.pass(Duration::ZERO).await;
        bench.until("a run", |bench| bench.drift().is_some()).await;
        bench.until_done().await;
        assert_eq!(bench.callbacks(), 2);
    }
}

#[tokio::test]
async fn a_node_whose_drift_runs_have_failed_is_not_well_because_it_is_about_to_go() {
    let mut bench = Bench::new(|awx| awx.drift_failures = 1);
    bench.start();
    bench.until_done().await;
    bench.awx.state().ends_as = "failed";
    bench.fail_once(0).await;
    bench.until("the consequence", |bench| bench.acts() == [(Step::Awx, OnFailure::Quarantine)]).await;
    bench.process().works.node.set_interrupted(true);
    bench.settle().await;
    assert_eq!(bench.state(), State::Failed);
    assert!(bench.process().works.recovered.lock().expect("whole").is_empty());
}

#[tokio::test]
async fn a_drift_run_that_cannot_begin_is_put_off_when_the_node_is_about_to_go() {
    let mut bench = Bench::new(|_| {});
    bench.start();
    bench.until_done().await;
    bench.awx.state().rows = vec![Row::Says(503, ""); 2];
    bench.pass(6 * HOUR).await;
    bench.until("a callback that is refused", |bench| bench.callbacks() == 2).await;
    bench.process().works.node.set_interrupted(true);
    bench.until_done().await;
    let sent = bench.callbacks();
    bench.pass(60 * HOUR).await;
    bench.settle().await;
    assert_eq!((bench.callbacks(), bench.drift()), (sent, None), "it is neither asked for nor counted");
    bench.process().works.node.set_interrupted(false);
    bench.pass(Duration::ZERO).await;
    bench.until("the run", |bench| bench.drift().is_some_and(|drift| drift.outcome == "ok")).await;
}

#[tokio::test]
async fn a_drift_run_whose_job_does_not_end_has_failed() {
    let mut bench = Bench::new(|_| {});
    bench.step(|step| step.attempt = 10 * SHORT);
    bench.start();
    bench.until_done().await;
    bench.awx.state().ends_as = "";
    bench.fail_once(0).await;
    bench.until_done().await;
    let outcome = bench.drift().expect("a run").outcome;
    assert!(outcome.contains("has not ended within"), "{outcome}");
    assert_eq!(bench.acts(), []);
}

#[tokio::test]
async fn a_changed_configuration_is_no_drift_and_its_failure_is_the_steps_at_once() {
    let mut bench = Bench::new(|_| {});
    bench.start();
    bench.until_done().await;
    bench.kill();
    bench.settings.awx.as_mut().expect("wanted").extra_vars.insert("role".to_owned(), "web".to_owned());
    bench.awx.state().ends_as = "failed";
    bench.start();
    bench.until("the consequence", |bench| bench.acts() == [(Step::Awx, OnFailure::Quarantine)]).await;
    assert_eq!(bench.drift(), None);
    bench.awx.state().ends_as = "successful";
    bench.until_done().await;
}

#[tokio::test]
async fn a_job_that_was_asked_for_with_another_configuration_is_not_the_one_that_is_waited_for() {
    let mut bench = Bench::new(|_| {});
    bench.awx.state().ends_as = "";
    bench.start();
    bench.until("a job that runs", |bench| bench.note().runs.is_some_and(|runs| runs.job == Some(1))).await;
    bench.kill();
    bench.settings.awx.as_mut().expect("wanted").extra_vars.insert("role".to_owned(), "web".to_owned());
    bench.awx.end("successful", "");
    bench.awx.state().ends_as = "successful";
    bench.start();
    bench.until_done().await;
    assert_eq!(bench.awx.state().jobs.len(), 2);
    assert_eq!(bench.awx.state().jobs[1].variables["role"], "web");
}

#[tokio::test]
async fn a_host_that_was_missing_once_at_the_boot_may_be_missing_once_in_a_drift_run() {
    let missing = Row::Says(400, r#"{"msg":"No matching host could be found!"}"#);
    let mut bench = Bench::new(|_| {});
    bench.awx.state().rows = vec![missing.clone()];
    bench.start();
    bench.until_done().await;
    bench.awx.state().rows = vec![missing];
    bench.pass(6 * HOUR).await;
    bench.until("the run's end", |bench| bench.drift().is_some()).await;
    bench.until_done().await;
    assert_eq!((bench.drift().expect("a run").outcome.as_str(), bench.callbacks()), ("ok", 4));
}

#[tokio::test]
async fn a_job_that_an_operator_has_run_again_is_the_one_that_is_waited_for() {
    let mut bench = Bench::new(|_| {});
    bench.awx.state().ends_as = "";
    bench.start();
    bench.until("a job", |bench| bench.awx.state().jobs.len() == 1).await;
    bench.awx.end("failed", "");
    // Before the agent asks again itself.
    bench.awx.relaunch();
    bench
        .until("the new one's number", |bench| bench.note().runs.is_some_and(|runs| runs.job == Some(2)))
        .await;
    bench.awx.end("successful", "");
    bench.until_done().await;
    assert_eq!((bench.callbacks(), bench.awx.state().jobs.len()), (1, 2));
}

#[tokio::test]
async fn a_job_whose_number_cannot_be_found_is_asked_for_again_until_it_is_over() {
    let mut bench = Bench::new(|_| {});
    bench.awx.state().rows = vec![Row::CutAfter];
    bench.awx.state().ends_as = "";
    bench.start();
    bench.until("a job", |bench| bench.awx.state().jobs.len() == 1).await;
    // Of a template that does not prompt for variables.
    bench.awx.state().jobs[0].variables = serde_json::Value::Null;
    bench.until("three looks for it", |bench| bench.awx.state().answered.len() == 3).await;
    assert!(bench.awx.state().answered.iter().all(|(_, body)| body.contains("already pending")));
    assert_eq!(bench.awx.state().jobs.len(), 1);
    bench.awx.state().ends_as = "successful";
    bench.awx.end("canceled", "");
    bench.until_done().await;
    assert_eq!(bench.awx.state().jobs.len(), 2, "it would have been waited for for ever");
}

#[tokio::test]
async fn a_job_that_awx_knows_no_more_is_given_up_after_a_while_and_another_is_asked_for() {
    let mut bench = Bench::new(|_| {});
    bench.awx.state().ends_as = "";
    bench.start();
    bench.until("a job", |bench| bench.note().runs.is_some_and(|runs| runs.job == Some(1))).await;
    // As after AWX was restored from a backup.
    bench.awx.state().jobs.clear();
    bench.awx.state().ends_as = "successful";
    bench.until_done().await;
    assert_eq!(bench.callbacks(), 2);
    assert!(bench.clock.monotonic() >= Duration::from_secs(300), "not at once");
}

#[tokio::test]
async fn a_playbook_that_never_says_that_it_is_done_is_run_again() {
    let mut bench = Bench::new(|awx| awx.server.token_file = None);
    bench.start();
    bench.until("a second job", |bench| bench.awx.state().jobs.len() == 2).await;
    assert!(bench.clock.monotonic() >= Duration::from_secs(1800), "not at once");
    let directory = bench.place.path().join("state").join(COMPLETIONS);
    fs::create_dir_all(&directory).expect("made");
    let text = format!(r#"{{"job": 2, "instance": "{INSTANCE}", "status": "successful"}}"#);
    fs::write(directory.join("2.json"), text).expect("written");
    bench.until_done().await;
}

#[tokio::test]
async fn the_callbacks_of_a_fleet_that_boots_together_are_spread_over_the_jitter() {
    let minutes = Duration::from_secs(600);
    let mut sent = Vec::new();
    for number in 0..40 {
        let mut bench = Bench::new(|awx| awx.jitter = minutes);
        bench.settings.watch.verify = HOUR;
        bench.instance = format!("i-{number:017x}");
        bench.start();
        let waits = SystemClock::new();
        // It sleeps until its callback is due; nothing else waits for less than an attempt.
        while bench.clock.next_wake().is_none_or(|wake| wake > minutes) {
            assert!(waits.monotonic() < PATIENCE, "nobody waits");
            waits.sleep_until(waits.monotonic() + Duration::from_millis(1)).await;
        }
        let due = bench.clock.next_wake().expect("it waits");
        assert_eq!(bench.callbacks(), 0);
        bench.clock.advance_to(due);
        bench.until("a callback", |bench| bench.callbacks() == 1).await;
        assert_eq!(due, spread(minutes, crate::seed_of(&bench.instance), 0));
        sent.push(due);
        bench.until_done().await;
    }
    for quarter in 0..4 {
        let (from, to) = (minutes / 4 * quarter, minutes / 4 * (quarter + 1));
        let share = sent.iter().filter(|due| **due >= from && **due < to).count();
        assert!((3..=20).contains(&share), "{share} of 40 in a quarter: {sent:?}");
    }
}

#[tokio::test]
async fn the_drift_runs_of_a_fleet_that_booted_together_are_spread_over_the_last_quarter_of_the_time() {
    let mut bench = Bench::new(|awx| awx.drift = 6 * HOUR);
    let booted = bench.clock.wall();
    let awx = bench.settings.awx.clone().expect("it is asked");
    let note = Note::ended(Some(1), inputs(&awx));
    let nodes: Vec<Arc<Node>> = (0..40)
        .map(|number| {
            bench.instance = format!("i-{number:017x}");
            bench.node()
        })
        .collect();
    let minute = Duration::from_secs(60);
    let mut begun = vec![None; nodes.len()];
    for minutes in 0..=360 {
        bench.clock.advance_to(minute * minutes);
        for (node, begun) in nodes.iter().zip(&mut begun) {
            if begun.is_none() && is_drift_due(node, &awx, &note, booted) {
                *begun = Some(minutes);
            }
        }
    }
    let begun: Vec<u32> = begun.into_iter().map(|at| at.expect("each has one in its time")).collect();
    // Between four and a half and six hours.
    assert!(begun.iter().all(|at| (270..=360).contains(at)), "{begun:?}");
    for third in 0..3 {
        let (from, to) = (270 + third * 30, 300 + third * 30);
        let share = begun.iter().filter(|at| (from..to).contains(*at)).count();
        assert!((5..=25).contains(&share), "{share} of 40 in half an hour: {begun:?}");
    }
}
