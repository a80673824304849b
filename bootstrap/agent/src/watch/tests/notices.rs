//! Notices: told, told again, and acted upon.

use super::*;
use crate::watch::notices;
use bootstrap_config::{Loaded, NomadSettings, Problems};

const ACTION: &str = r#"{"action": "terminate", "time": "1970-01-12T13:48:40Z"}"#;
/// Two minutes after the beginning: what [`ACTION`] says.
const GOES: Duration = Duration::from_secs(120);
const RECOMMENDED: &str = r#"{"noticeTime": "1970-01-12T13:46:40Z"}"#;

/// A node with Nomad's client, whom nobody answers, and these processes of the autoscaler.
fn bench(processes: &[&Process]) -> Bench {
    Bench::new(|base| {
        let mut nomad = NomadSettings::default();
        nomad.server.address = "http://127.0.0.1:9".to_owned();
        base.nomad = Some(nomad);
        base.watch.autoscaler = (!processes.is_empty()).then(|| of(processes));
    })
}

fn watch(bench: &Bench) -> JoinHandle<()> {
    tokio::spawn(notices::watch(Arc::clone(&bench.node), Arc::default()))
}

const LEAVES: &str = "terminate nomad.service";

#[tokio::test]
async fn a_node_whose_interruption_a_leader_confirmed_stays_until_it_is_taken() {
    let leader = Process::start(Manner::Leads, DAY);
    let bench = bench(&[&leader]);
    let _watching = watch(&bench);
    bench.seconds(2).await;
    assert!(bench.node.notices().is_empty() && !bench.node.is_leaving());
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(1).await;
    bench.until("the notice", || leader.notices().len() == 1).await;
    assert_eq!(leader.notices()[0][0]["kind"], "spot_interruption");
    bench.seconds(10).await;
    assert_eq!(leader.notices().len(), 1, "it is told once");
    assert_eq!(bench.asked(), [""; 0]);
    assert!(bench.node.is_leaving() && !bench.node.has_left());
    assert_eq!(bench.node.notices(), ["interruption at 1970-01-12T13:48:40Z"]);
    // Of an interruption nobody has heard that it was taken back.
    bench.is_silent_of(paths::INSTANCE_ACTION);
    bench.seconds(3).await;
    assert!(bench.node.is_leaving());
    assert_eq!(bench.node.notices(), ["interruption at 1970-01-12T13:48:40Z"]);
}

#[tokio::test]
async fn a_node_that_nobody_hears_has_its_client_leave_once_and_whoever_comes_after_knows() {
    let bench = bench(&[]);
    let watching = watch(&bench);
    bench.seconds(1).await;
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(1).await;
    assert!(bench.node.is_leaving());
    bench.seconds(1).await;
    assert_eq!(bench.asked(), [""; 0], "an autoscaler has two seconds");
    bench.seconds(2).await;
    bench.until("the client to leave", || bench.asked() == [LEAVES]).await;
    assert!(bench.node.has_left());
    assert_eq!(bench.node.left_until(), Some(THEN + GOES));
    let told = bench.node.directories.run.join("left");
    bench.until("that it was told", || told.exists()).await;
    watching.abort();
    // The agent is started again: a second signal would cut the drain.
    let _again = watch(&bench);
    bench.seconds(6).await;
    assert_eq!(bench.asked(), [LEAVES]);
}

#[tokio::test]
async fn an_agent_that_is_killed_while_root_is_asked_does_not_ask_again() {
    let mut bench = bench(&[]);
    // Whoever asks root waits for the answer.
    bench.lasting = 2;
    let _never = bench.host.hold(Verb::Terminate);
    let watching = watch(&bench);
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(5).await;
    bench.until("root to be asked", || bench.asked() == [LEAVES]).await;
    assert!(bench.node.directories.run.join("left").exists(), "it is marked before that");
    watching.abort();
    let _again = watch(&bench);
    bench.seconds(20).await;
    assert_eq!(bench.asked(), [LEAVES]);
}

/// A client of Nomad that its servers hear once a test says so.
fn client(is_heard: &Arc<AtomicBool>) -> StandIn {
    let is_heard = Arc::clone(is_heard);
    StandIn::start(move |asked| {
        if !is_heard.load(Ordering::Relaxed) {
            return Plays::status(500);
        }
        let stats = json!({"node_id": "node", "last_heartbeat": "1s", "heartbeat_ttl": "10s"});
        match asked.path.as_str() {
            "/v1/status/leader?stale" => Plays::json(&json!("10.0.0.1:4647")),
            "/v1/agent/self" => {
                Plays::json(&json!({"config": {"NodeName": OWN}, "stats": {"client": stats}}))
            }
            _ => Plays::json(&json!({
                "Status": "ready", "NodePool": "default", "SchedulingEligibility": "eligible", "Drain": false,
                "Attributes": {}, "Drivers": {},
            })),
        }
    })
}

/// A node whose client another step has just begun to start again.
async fn starting(is_heard: &Arc<AtomicBool>) -> (Bench, StandIn, Arc<Notify>) {
    let nomad = client(is_heard);
    let mut bench = Bench::new(|_| {});
    // Whoever watches, restarts the client, has it leave, and waits for root.
    bench.lasting = 4;
    let mut settings = NomadSettings::default();
    settings.server.address = nomad.address();
    let settings = Settings {
        nomad: Some(settings),
        identity: bench.node.base().identity.clone(),
        ..Settings::default()
    };
    bench.node.set_loaded(Loaded { settings, values: Vec::new(), warnings: Problems::default() });
    let restarted = bench.host.hold(Verb::TryRestart);
    let node = Arc::clone(&bench.node);
    tokio::spawn(async move { crate::steps::withhold(&node).await });
    bench.until("a restart", || bench.asked().last().is_some_and(|asked| asked == RESTARTS)).await;
    (bench, nomad, restarted)
}

const RESTARTS: &str = "try-restart nomad.service";

#[tokio::test]
async fn a_client_that_is_being_started_is_told_to_leave_once_its_servers_hear_it() {
    let is_heard = Arc::<AtomicBool>::default();
    let (bench, _nomad, restarted) = starting(&is_heard).await;
    let _watching = watch(&bench);
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(8).await;
    assert!(bench.node.has_left(), "nobody confirms it");
    let told = || bench.asked().iter().filter(|asked| *asked == LEAVES).count();
    assert_eq!(told(), 0, "it is still being started");
    restarted.notify_one();
    bench.seconds(4).await;
    assert_eq!(told(), 0, "it would end with its work where that is");
    is_heard.store(true, Ordering::Relaxed);
    // A look that had begun before may have found that it is not.
    bench.within(10, "the client to leave", || told() == 1).await;
    bench.seconds(30).await;
    assert_eq!(told(), 1);
}

#[tokio::test]
async fn a_client_whose_restart_hangs_is_told_to_leave_all_the_same_and_what_comes_up_again_is() {
    let is_heard = Arc::<AtomicBool>::default();
    let (bench, _nomad, restarted) = starting(&is_heard).await;
    let _watching = watch(&bench);
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    let told = || bench.asked().iter().filter(|asked| *asked == LEAVES).count();
    bench.seconds(30).await;
    bench.until("it to be told", || told() == 1).await;
    bench.seconds(10).await;
    assert_eq!(told(), 1, "and not again while that hangs");
    is_heard.store(true, Ordering::Relaxed);
    restarted.notify_one();
    bench.within(10, "what came up to be told", || told() == 2).await;
    bench.seconds(30).await;
    assert_eq!(told(), 2);
}

#[tokio::test]
async fn a_bug_in_whoever_has_the_client_leave_ends_the_watch() {
    let bench = bench(&[]);
    bench.host.panics.store(true, Ordering::Relaxed);
    let watching = watch(&bench);
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(6).await;
    bench.until("its end", || watching.is_finished()).await;
    assert!(watching.await.expect_err("it panics").is_panic());
}

#[tokio::test]
async fn an_instance_that_is_back_is_known_as_such_by_an_agent_that_never_saw_the_notice() {
    let bench = bench(&[]);
    let watching = watch(&bench);
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(5).await;
    bench.until("the client to leave", || bench.asked() == [LEAVES]).await;
    watching.abort();
    bench.is_silent_of(paths::INSTANCE_ACTION);
    let _again = watch(&bench);
    bench.seconds(100).await;
    assert!(bench.node.has_left(), "its time is not over");
    bench.seconds(20).await;
    bench.until("an end of it", || !bench.node.has_left()).await;
}

#[tokio::test]
async fn a_client_of_which_nothing_is_known_yet_leaves_as_soon_as_it_is() {
    let mut bench = Bench::new(|_| {});
    // Whoever waits for the configuration goes on.
    bench.lasting = 2;
    let _watching = watch(&bench);
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(10).await;
    assert!(bench.node.has_left(), "none is begun");
    assert_eq!(bench.asked(), [""; 0]);
    let settings = Settings { nomad: Some(NomadSettings::default()), ..Settings::default() };
    bench.node.set_loaded(Loaded { settings, values: Vec::new(), warnings: Problems::default() });
    bench.seconds(20).await;
    bench.until("the client to leave", || bench.asked() == [LEAVES]).await;
}

#[tokio::test]
async fn a_node_without_a_client_leaves_nothing_behind() {
    let bench = Bench::new(|_| {});
    let loaded = Loaded { settings: Settings::default(), values: Vec::new(), warnings: Problems::default() };
    bench.node.set_loaded(loaded);
    let _watching = watch(&bench);
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(10).await;
    assert!(bench.node.is_leaving() && !bench.node.has_left());
    assert_eq!(bench.asked(), [""; 0]);
}

#[tokio::test]
async fn root_is_asked_to_have_the_client_leave_until_it_was_done() {
    let mut bench = bench(&[]);
    // Whoever asks root goes on.
    bench.lasting = 2;
    *bench.host.fails.lock().expect("whole") = 3;
    let _watching = watch(&bench);
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(20).await;
    bench.until("the fourth time", || bench.asked().len() == 4).await;
    bench.seconds(30).await;
    assert_eq!(bench.asked(), [LEAVES; 4], "and not again");
}

#[tokio::test]
async fn nobody_is_asked_to_have_the_client_leave_once_the_instance_stays() {
    let mut bench = bench(&[]);
    bench.lasting = 2;
    *bench.host.fails.lock().expect("whole") = u32::MAX;
    let _watching = watch(&bench);
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(60).await;
    assert!(bench.node.has_left());
    assert!(!bench.node.directories.run.join("left").exists(), "another agent would ask, too");
    bench.is_silent_of(paths::INSTANCE_ACTION);
    bench.seconds(80).await;
    bench.until("an end of it", || !bench.node.has_left()).await;
    let asked = bench.asked().len();
    bench.seconds(60).await;
    assert_eq!(bench.asked().len(), asked);
}

#[tokio::test]
async fn the_older_document_is_believed_where_there_is_no_newer_one() {
    let leader = Process::start(Manner::Leads, DAY);
    let bench = bench(&[&leader]);
    let _watching = watch(&bench);
    bench.seconds(2).await;
    bench.says(paths::TERMINATION_TIME, 200, "1970-01-12T13:48:40Z");
    bench.seconds(2).await;
    bench.until("the notice", || leader.notices().len() == 1).await;
    assert_eq!(bench.node.notices(), ["interruption at 1970-01-12T13:48:40Z"]);
}

#[tokio::test]
async fn an_interruption_is_over_when_its_time_is_and_nothing_is_announced_any_more() {
    let bench = bench(&[]);
    let _watching = watch(&bench);
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(5).await;
    bench.until("the client to leave", || bench.asked() == [LEAVES]).await;
    bench.is_silent_of(paths::INSTANCE_ACTION);
    bench.seconds(100).await;
    assert!(bench.node.is_leaving() && bench.node.has_left(), "its time is not over");
    // Nobody can say whether it is.
    bench.says(paths::INSTANCE_ACTION, 500, "");
    bench.pass(Duration::from_secs(60)).await;
    assert!(bench.node.has_left());
    bench.is_silent_of(paths::INSTANCE_ACTION);
    bench.pass(Duration::from_secs(6)).await;
    bench.until("an end of it", || !bench.node.has_left() && !bench.node.is_leaving()).await;
    bench.until("no notice", || bench.node.notices().is_empty()).await;
    assert!(bench.node.is_drained_for_good(), "what Nomad has of it is of no use");
    // Of another one it is told as of the first.
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(5).await;
    bench.until("the client to leave again", || bench.asked() == [LEAVES; 2]).await;
}

#[tokio::test]
async fn a_metadata_service_that_says_nothing_is_asked_less_and_less_often() {
    let bench = bench(&[]);
    for path in [paths::INSTANCE_ACTION, paths::TERMINATION_TIME, paths::REBALANCE, paths::SCHEDULED] {
        bench.says(path, 500, "");
    }
    let _watching = watch(&bench);
    let mut looks = Vec::new();
    for second in 0..=24 {
        bench.settle().await;
        if bench.looks(paths::INSTANCE_ACTION) > looks.len() {
            looks.push(second);
        }
        bench.seconds(1).await;
    }
    // What a look comes to is known to the pause after the next one.
    assert_eq!(looks, [0, 1, 3, 7, 12, 17, 22]);
    // It speaks again: every second, as before.
    for path in [paths::INSTANCE_ACTION, paths::TERMINATION_TIME, paths::REBALANCE, paths::SCHEDULED] {
        bench.is_silent_of(path);
    }
    bench.seconds(10).await;
    let before = bench.looks(paths::INSTANCE_ACTION);
    bench.seconds(5).await;
    assert_eq!(bench.looks(paths::INSTANCE_ACTION), before + 5);
}

#[tokio::test]
async fn a_watch_that_looks_seldom_says_every_second_that_it_goes_on() {
    let bench = Bench::new(|base| base.watch.notices = Duration::from_secs(30));
    let watching = watch(&bench);
    for _ in 0..65 {
        bench.seconds(1).await;
        assert!(bench.node.is_watched());
    }
    assert_eq!(bench.looks(paths::INSTANCE_ACTION), 3, "as often as it was told to, and no more");
    watching.abort();
    bench.clock.advance_to(Duration::from_secs(80));
    assert!(!bench.node.is_watched());
}

#[tokio::test]
async fn a_document_that_hangs_is_waited_for_before_it_is_asked_for_again() {
    let bench = bench(&[]);
    bench.says(paths::INSTANCE_ACTION, HANGS, "");
    let _watching = watch(&bench);
    bench.until("a look", || bench.looks(paths::INSTANCE_ACTION) == 1).await;
    let begun = bench.clock.monotonic();
    for second in 1..=3 {
        bench.until("the next second", || bench.clock.next_wake().is_some()).await;
        bench.clock.advance_to(begun + Duration::from_secs(second));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(bench.looks(paths::INSTANCE_ACTION), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_as_it_was_and_what_is_taken_back_is_gone() {
    let bench = bench(&[]);
    let _watching = watch(&bench);
    bench.says(paths::REBALANCE, 200, RECOMMENDED);
    bench.says(
        paths::SCHEDULED,
        200,
        r#"[{"Code": "system-reboot", "State": "active", "NotBefore": "12 Jan 1970 14:46:40 GMT"}]"#,
    );
    bench.seconds(2).await;
    let both = ["rebalance recommendation", "scheduled event at 1970-01-12T14:46:40Z"];
    bench.until("both", || bench.node.notices() == both).await;
    bench.says(paths::REBALANCE, 500, "");
    bench.says(paths::SCHEDULED, 500, "");
    bench.seconds(3).await;
    assert_eq!(bench.node.notices(), both);
    bench.is_silent_of(paths::REBALANCE);
    bench.seconds(2).await;
    bench.until("one", || bench.node.notices() == both[1..]).await;
    bench.is_silent_of(paths::SCHEDULED);
    bench.seconds(2).await;
    bench.until("none", || bench.node.notices().is_empty()).await;
    assert_eq!(bench.asked(), [""; 0], "nobody leaves for what only may be");
    assert!(!bench.node.is_leaving());
}

#[tokio::test]
async fn who_does_not_lead_or_does_not_answer_is_turned_from() {
    let (standby, leader) = (Process::start(Manner::StandsBy, DAY), Process::start(Manner::Leads, DAY));
    let bench = bench(&[&standby, &leader]);
    let _watching = watch(&bench);
    bench.seconds(1).await;
    bench.says(paths::REBALANCE, 200, RECOMMENDED);
    bench.seconds(1).await;
    assert_eq!((standby.notices().len(), leader.notices().len()), (1, 0));
    bench.pass(Duration::from_millis(500)).await;
    assert_eq!((standby.notices().len(), leader.notices().len()), (1, 1));
    // What comes later goes to the leader at once.
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.seconds(1).await;
    bench.until("the interruption", || leader.notices().len() == 2).await;
    assert_eq!(standby.notices().len(), 1);
    bench.seconds(4).await;
    assert!(!bench.node.has_left());
}

#[tokio::test]
async fn no_time_goes_by_between_what_is_read_and_what_is_told_of_it() {
    let leader = Process::start(Manner::Leads, DAY);
    let bench = bench(&[&leader]);
    let _watching = watch(&bench);
    bench.seconds(3).await;
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    // The next look is due, and time stands still from there on.
    let wake = bench.clock.next_wake().expect("a look is due");
    bench.clock.advance_to(wake);
    bench.until("the interruption", || leader.notices().len() == 1).await;
    bench.until("what comes of it", || bench.node.is_leaving()).await;
    assert_eq!(bench.clock.monotonic(), wake);
}

#[tokio::test]
async fn while_one_hangs_another_one_is_told() {
    let (hangs, leader) = (Process::start(Manner::Leads, DAY), Process::start(Manner::Leads, DAY));
    let bench = bench(&[&hangs, &leader]);
    let told = Arc::new(Told::default());
    let settings = bench.node.settings().watch.autoscaler.expect("one");
    told.of(&settings).expect("a client").make_ready(&bench.node).await.expect("both identify");
    hangs.turns(Manner::Hangs);
    let _watching = tokio::spawn(notices::watch(Arc::clone(&bench.node), Arc::clone(&told)));
    bench.says(paths::INSTANCE_ACTION, 200, ACTION);
    bench.until("a first look", || bench.clock.next_wake().is_some()).await;
    bench.clock.advance_to(Duration::from_secs(1));
    bench.until("the one that hangs", || hangs.notices().len() == 1).await;
    bench.clock.advance_to(bench.clock.monotonic() + Duration::from_millis(500));
    bench.until("the leader", || leader.notices().len() == 1).await;
    assert_eq!(hangs.given_up(), 0, "its answer was not waited for");
}
