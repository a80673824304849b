//! The loop, with steps that a test scripts, on time that a test moves.

use bootstrap_agent::drive::{Command, Driver, Looked, Made, Notes, Works};
use bootstrap_agent::progress::{Damaged, Store};
use bootstrap_config::Settings;
use bootstrap_core::{Checked, Condition, Entry, Failure, Inputs, OnFailure, Phase, Plan, Report, Step};
use fleet::ports::Clock as _;
use fleet::{ErrorClass, InstanceId, Timestamp};
use fleet_clock::SteppedClock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// What the test's `time` step does when it is applied; everything else is so already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Works,
    PanicsOnce,
    Hangs,
    NotesAndHangs,
    /// The instance is not known before the step was applied.
    KnownLate,
    /// Nobody says which instance it is for so long.
    Silent {
        seconds: u64,
    },
    /// The first look at it panics.
    LookPanicsOnce,
    /// What is to be done is known with the configuration.
    PlannedLate,
    /// It notes something once the test says so.
    NotesWhenTold,
}

struct Node {
    script: Script,
    clock: SteppedClock,
    reports: Mutex<Option<Report>>,
    applied: Mutex<u32>,
    acts: Mutex<Vec<(Step, OnFailure)>>,
    recovered: Mutex<Vec<Step>>,
    /// Each look, and what was known of the step from before.
    looks: Mutex<Vec<(Step, Option<Entry>)>>,
    /// What was found on disk: damaged lines, and other instances.
    found: Mutex<Option<(usize, usize)>>,
    told: AtomicBool,
    /// What came of a note.
    kept: Mutex<Option<bool>>,
}

impl Node {
    fn looks_at(&self, step: Step) -> usize {
        self.looks.lock().expect("whole").iter().filter(|(of, _)| *of == step).count()
    }
}

impl Works for Node {
    async fn check(&self, step: Step, last: Option<Entry>) -> Looked {
        self.looks.lock().expect("whole").push((step, last));
        let panics = self.script == Script::LookPanicsOnce && step == Step::Time && self.looks_at(step) == 1;
        assert!(!panics, "a bug in a look");
        if let Script::Silent { seconds } = self.script
            && step == Step::Identity
            && self.clock.monotonic() < Duration::from_secs(seconds)
        {
            return Err(Failure::new(ErrorClass::Transient, "nobody answers"));
        }
        if self.script == Script::KnownLate && step == Step::Identity {
            while *self.applied.lock().expect("whole") == 0 {
                tokio::task::yield_now().await;
            }
        }
        let stands = step != Step::Time || *self.applied.lock().expect("whole") > 0;
        Ok((if stands { Checked::Already } else { Checked::Needed }, Inputs::none()))
    }
    async fn apply(&self, _: Step, _: Option<Entry>, notes: Notes) -> Made {
        match self.script {
            Script::PanicsOnce if *self.applied.lock().expect("whole") == 0 => {
                *self.applied.lock().expect("whole") += 1;
                panic!("a bug in a step");
            }
            Script::Hangs => std::future::pending().await,
            Script::NotesAndHangs => {
                notes.keep("job 17").await?;
                std::future::pending().await
            }
            Script::NotesWhenTold => {
                while !self.told.load(Ordering::Relaxed) {
                    self.clock.sleep_until(self.clock.monotonic() + Duration::from_secs(1)).await;
                }
                let kept = notes.keep("job 17").await;
                *self.kept.lock().expect("whole") = Some(kept.is_ok());
                kept.map(|()| None)
            }
            Script::Works
            | Script::PanicsOnce
            | Script::KnownLate
            | Script::LookPanicsOnce
            | Script::PlannedLate
            | Script::Silent { .. } => {
                *self.applied.lock().expect("whole") += 1;
                Ok(Some("it is so".to_owned()))
            }
        }
    }
    fn waits_for(&self, _: Step) -> Option<String> {
        Some("the other end".to_owned())
    }
    fn instance(&self) -> Option<InstanceId> {
        Some(InstanceId::new("i-0123456789abcdef0"))
    }
    fn plans(&self) -> BTreeMap<Step, Plan> {
        let first = [Step::Identity, Step::Time, Step::Configuration];
        let known = self.script != Script::PlannedLate || self.looks_at(Step::Configuration) > 0;
        Settings::default().plans().into_iter().filter(|(step, _)| known || first.contains(step)).collect()
    }
    fn verify_every(&self) -> Duration {
        Duration::from_secs(300)
    }
    fn act(&self, step: Step, policy: OnFailure, _: &Failure) {
        self.acts.lock().expect("whole").push((step, policy));
    }
    fn recovered(&self, step: Step) {
        self.recovered.lock().expect("whole").push(step);
    }
    fn found_on_disk(&self, damaged: &[Damaged], others: &[InstanceId]) {
        *self.found.lock().expect("whole") = Some((damaged.len(), others.len()));
    }
    fn report(&self, report: &Report) {
        *self.reports.lock().expect("whole") = Some(report.clone());
    }
}

struct Bench {
    node: Arc<Node>,
    clock: SteppedClock,
    commands: mpsc::Sender<Command>,
    running: tokio::task::JoinHandle<()>,
    place: tempfile::TempDir,
}

impl Bench {
    fn start(script: Script) -> Self {
        Self::start_in(script, tempfile::tempdir().expect("a directory"))
    }

    fn start_in(script: Script, place: tempfile::TempDir) -> Self {
        Self::start_with(script, place, |driver, _| driver)
    }

    fn start_with(
        script: Script,
        place: tempfile::TempDir,
        with: impl FnOnce(Driver<Node>, SteppedClock) -> Driver<Node>,
    ) -> Self {
        let clock = SteppedClock::new(Timestamp::from_secs(1_000_000));
        let node = Arc::new(Node {
            script,
            clock: clock.clone(),
            reports: Mutex::default(),
            applied: Mutex::default(),
            acts: Mutex::default(),
            recovered: Mutex::default(),
            looks: Mutex::default(),
            found: Mutex::default(),
            told: AtomicBool::default(),
            kept: Mutex::default(),
        });
        let store = Store::open(place.path()).expect("a store");
        let (commands, orders) = mpsc::channel(1);
        let driver = Driver::new(Arc::clone(&node), store, Arc::new(clock.clone()), 7);
        let driver = with(driver, clock.clone());
        let running = tokio::spawn(driver.run(orders));
        Self { node, clock, commands, running, place }
    }

    /// Moves time on whenever nothing else happens, until the report is as it should be.
    async fn until(&self, what: &str, is: impl Fn(&Report) -> bool) -> Report {
        for _ in 0..100_000 {
            // Whatever can go on does before time goes on: no step's time runs out because it had no turn.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            if let Some(report) = self.node.reports.lock().expect("whole").clone().filter(|report| is(report))
            {
                return report;
            }
            if let Some(wake) = self.clock.next_wake() {
                self.clock.advance_to(wake);
            }
        }
        panic!("waited for {what}: {:#?}", self.node.reports.lock().expect("whole"))
    }

    fn line(&self, step: Step) -> Option<Entry> {
        let store = Store::open(self.place.path()).expect("a store");
        let (progress, _) = store.load(&InstanceId::new("i-0123456789abcdef0")).expect("read");
        progress.get(step).cloned()
    }

    async fn stop(self) {
        let _ = self.commands.send(Command::Stop).await;
        self.running.await.expect("it ends");
    }
}

fn failure_of(report: &Report, step: Step) -> Option<String> {
    let step = report.steps.iter().find(|report| report.step == step)?;
    step.failure.as_ref().map(|failure| failure.what.clone())
}

#[tokio::test]
async fn a_step_is_applied_written_down_and_looked_at_again() {
    let bench = Bench::start(Script::Works);
    bench.until("the end", |report| report.condition == Condition::Done).await;
    let line = bench.line(Step::Time).expect("a line");
    assert_eq!((line.phase, line.note.as_deref()), (Phase::Done, Some("it is so")));
    assert_eq!(*bench.node.applied.lock().expect("whole"), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_step_that_panics_has_failed_and_is_tried_again() {
    let bench = Bench::start(Script::PanicsOnce);
    let report = bench.until("the failure", |report| failure_of(report, Step::Time).is_some()).await;
    assert_eq!(failure_of(&report, Step::Time).as_deref(), Some("it ended in a panic, which is a bug"));
    bench.until("the end", |report| report.condition == Condition::Done).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_look_that_panics_has_failed_and_is_tried_again() {
    let bench = Bench::start(Script::LookPanicsOnce);
    let report = bench.until("the failure", |report| failure_of(report, Step::Time).is_some()).await;
    assert_eq!(failure_of(&report, Step::Time).as_deref(), Some("it ended in a panic, which is a bug"));
    bench.until("the end", |report| report.condition == Condition::Done).await;
    bench.stop().await;
}

#[tokio::test]
async fn the_steps_that_are_known_with_the_configuration_are_done_as_well() {
    let bench = Bench::start(Script::PlannedLate);
    bench.until("the end", |report| report.condition == Condition::Done).await;
    assert!(bench.line(Step::Ready).is_some());
    bench.stop().await;
}

#[tokio::test]
async fn everything_is_looked_at_soon_after_the_boot_and_whenever_somebody_asks() {
    let bench = Bench::start(Script::Works);
    bench.until("the end", |report| report.condition == Condition::Done).await;
    let looks = bench.node.looks_at(Step::Configuration);
    bench.until("another look", |_| bench.node.looks_at(Step::Configuration) > looks).await;
    let now = bench.clock.monotonic();
    assert!(now < Duration::from_secs(60), "{now:?}");
    bench.commands.send(Command::Verify).await.expect("it runs");
    let looks = bench.node.looks_at(Step::Configuration);
    for _ in 0..100_000 {
        tokio::task::yield_now().await;
        if bench.node.looks_at(Step::Configuration) > looks {
            break;
        }
    }
    assert_eq!(bench.clock.monotonic(), now, "at once");
    assert!(bench.node.looks_at(Step::Configuration) > looks);
    // And after that in its own time.
    let looks = bench.node.looks_at(Step::Configuration);
    bench.until("another look", |_| bench.node.looks_at(Step::Configuration) > looks).await;
    assert!(bench.clock.monotonic() >= now + Duration::from_secs(300));
    bench.stop().await;
}

#[tokio::test]
async fn a_note_that_is_not_on_disk_is_told_to_who_wanted_it_kept() {
    let bench = Bench::start(Script::NotesWhenTold);
    let file = bench.place.path().join("i-0123456789abcdef0/time.json");
    bench.until("an intent", |_| file.exists()).await;
    std::fs::remove_file(&file).expect("it is there");
    std::fs::create_dir(&file).expect("made");
    bench.node.told.store(true, Ordering::Relaxed);
    let report = bench.until("the failure", |report| failure_of(report, Step::Time).is_some()).await;
    let what = failure_of(&report, Step::Time).expect("it failed");
    assert!(what.contains("time.json"), "{what}");
    assert_ne!(*bench.node.kept.lock().expect("whole"), Some(true));
    bench.stop().await;
}

#[tokio::test]
async fn the_next_process_knows_what_was_done_and_what_is_damaged() {
    let bench = Bench::start(Script::Works);
    bench.until("the end", |report| report.condition == Condition::Done).await;
    let Bench { commands, running, place, .. } = bench;
    commands.send(Command::Stop).await.expect("it runs");
    running.await.expect("it ends");
    std::fs::write(place.path().join("i-0123456789abcdef0/ready.json"), "no line").expect("written");
    std::fs::create_dir(place.path().join("i-0fedcba9876543210")).expect("made");
    let bench = Bench::start_in(Script::Works, place);
    bench.until("the end", |report| report.condition == Condition::Done).await;
    let looks = bench.node.looks.lock().expect("whole").clone();
    let known = |step: Step| {
        let first = looks.iter().find(|(of, _)| *of == step).expect("it was looked at");
        first.1.as_ref().map(|last| last.phase)
    };
    assert_eq!((known(Step::Configuration), known(Step::Ready)), (Some(Phase::Done), None));
    assert_eq!(*bench.node.found.lock().expect("whole"), Some((1, 1)));
    bench.stop().await;
}

#[tokio::test]
async fn a_step_that_hangs_is_cut_off_says_what_it_waited_for_and_has_its_consequence_at_the_deadline() {
    let bench = Bench::start(Script::Hangs);
    let report = bench.until("the failure", |report| failure_of(report, Step::Time).is_some()).await;
    let what = failure_of(&report, Step::Time);
    assert_eq!(what.as_deref(), Some("it did not end within 30s: the other end"));
    bench.until("the consequence", |report| report.condition == Condition::Failed).await;
    assert_eq!(*bench.node.acts.lock().expect("whole"), [(Step::Time, OnFailure::Quarantine)]);
    assert_eq!(bench.line(Step::Time).expect("a line").phase, Phase::Intent);
    bench.stop().await;
}

#[tokio::test]
async fn what_a_step_notes_is_on_disk_before_it_goes_on() {
    let bench = Bench::start(Script::NotesAndHangs);
    bench.until("the failure", |report| failure_of(report, Step::Time).is_some()).await;
    let line = bench.line(Step::Time).expect("a line");
    assert_eq!((line.phase, line.note.as_deref()), (Phase::Intent, Some("job 17")));
    bench.stop().await;
}

#[tokio::test]
async fn an_instance_whose_progress_cannot_be_written_is_not_known_and_nothing_is_lost_of_it() {
    let place = tempfile::tempdir().expect("a directory");
    // What root cannot write either: a directory stands where the line is to be.
    let blocked = place.path().join("i-0123456789abcdef0/time.json");
    std::fs::create_dir_all(&blocked).expect("made");
    let bench = Bench::start_in(Script::KnownLate, place);
    let report = bench.until("the failure", |report| failure_of(report, Step::Identity).is_some()).await;
    let what = failure_of(&report, Step::Identity).expect("it failed");
    assert!(what.contains("time.json"), "{what}");
    bench.until("the consequence", |report| report.condition == Condition::Failed).await;
    assert_eq!(*bench.node.acts.lock().expect("whole"), [(Step::Identity, OnFailure::Quarantine)]);
    assert_eq!(bench.line(Step::Vault), None, "nothing goes on without it");
    std::fs::remove_dir(&blocked).expect("removed");
    bench.until("the end", |report| report.condition == Condition::Done).await;
    let line = bench.line(Step::Time).expect("what was done before the instance was known");
    assert_eq!((line.phase, line.note.as_deref()), (Phase::Done, Some("it is so")));
    bench.stop().await;
}

#[tokio::test]
async fn metadata_that_takes_minutes_to_come_is_waited_for() {
    let bench = Bench::start(Script::Silent { seconds: 285 });
    let report = bench.until("the end", |report| report.condition == Condition::Done).await;
    assert!(report.steps[0].seconds.expect("a time") >= 285.0);
    assert!(bench.node.acts.lock().expect("whole").is_empty());
    bench.stop().await;
    let bench = Bench::start(Script::Silent { seconds: 400 });
    bench.until("the consequence", |report| report.condition == Condition::Failed).await;
    assert!(bench.clock.monotonic() >= Duration::from_secs(300), "five minutes of patience");
    bench.until("the end", |report| report.condition == Condition::Done).await;
    assert_eq!(*bench.node.recovered.lock().expect("whole"), [Step::Identity]);
    bench.stop().await;
}

#[tokio::test]
async fn a_beat_that_was_held_back_is_made_up_for_before_the_next_one_is_due() {
    let beats = Arc::<Mutex<Vec<u64>>>::default();
    let heard = Arc::clone(&beats);
    let every = Duration::from_secs(15);
    let bench =
        Bench::start_with(Script::Works, tempfile::tempdir().expect("a directory"), |driver, clock| {
            driver.with_pulse(every, move || {
                let now = clock.monotonic().as_secs();
                let held_back = (15..18).contains(&now);
                if !held_back {
                    heard.lock().expect("whole").push(now);
                }
                !held_back
            })
        });
    bench.until("beats", |_| beats.lock().expect("whole").len() >= 4).await;
    // A watchdog of twice the time had been fed at 0: the next one of its own at 30 were too late.
    assert_eq!(*beats.lock().expect("whole"), [0, 18, 33, 48]);
    bench.stop().await;
}

#[tokio::test]
async fn what_other_instances_left_is_forgotten_once_nothing_of_theirs_is_needed() {
    let other = InstanceId::new("i-0fedcba9876543210");
    let place = tempfile::tempdir().expect("a directory");
    let left = place.path().join(other.as_str());
    std::fs::create_dir_all(&left).expect("made");
    std::fs::write(left.join("nomad.json"), "{}").expect("written");
    // A boot that fails has everything yet to do: what is there is what an operator looks at.
    let bench = Bench::start_in(Script::Hangs, place);
    bench.until("the consequence", |report| report.condition == Condition::Failed).await;
    assert!(left.exists());
    let Bench { commands, running, place, .. } = bench;
    commands.send(Command::Stop).await.expect("it runs");
    running.await.expect("it ends");
    let bench = Bench::start_in(Script::Works, place);
    bench.until("the end", |report| report.condition == Condition::Done).await;
    bench.until("nothing of another's", |_| !left.exists()).await;
    assert!(bench.line(Step::Time).is_some(), "its own stays");
    bench.stop().await;
}
