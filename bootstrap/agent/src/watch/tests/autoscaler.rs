//! The autoscaler: known before there is anything to tell, and shown who this is.

use super::*;
use crate::watch::autoscaler::{Told, keep_known};
use crate::watch::{Autoscaler, load};
use bootstrap_config::ConsulSettings;

const WITHIN: Duration = Duration::from_secs(20);

fn autoscaler(processes: &[&Process]) -> Autoscaler {
    Autoscaler::new(&of(processes)).expect("a client")
}

async fn tell(autoscaler: &Autoscaler, bench: &Bench) -> Result<u16, String> {
    let address = autoscaler.current(&bench.node).await.map_err(|failure| failure.to_string())?;
    let body = json!({"notices": []});
    let reply = autoscaler.post(&bench.node, &address, "/v1/notices", &body, WITHIN).await;
    reply.map(|reply| reply.status).map_err(|failure| failure.to_string())
}

#[tokio::test]
async fn a_token_is_kept_made_anew_in_good_time_and_when_it_is_refused_once() {
    let leader = Process::start(Manner::Leads, Duration::from_secs(3600));
    let bench = Bench::new(|_| {});
    let autoscaler = autoscaler(&[&leader]);
    for _ in 0..3 {
        assert_eq!(tell(&autoscaler, &bench).await, Ok(200));
    }
    assert_eq!(leader.identified(), 1);
    // Ten minutes before its end it is made anew, where nobody waits for it.
    bench.clock.advance_to(Duration::from_secs(2990));
    autoscaler.make_ready(&bench.node).await.expect("it is there");
    assert_eq!(leader.identified(), 1);
    bench.clock.advance_to(Duration::from_secs(3001));
    assert_eq!(tell(&autoscaler, &bench).await, Ok(200));
    assert_eq!(leader.identified(), 1, "it holds for a while yet");
    autoscaler.make_ready(&bench.node).await.expect("it is there");
    assert_eq!(leader.identified(), 2);
    // Its tokens end at the same time as before: five minutes before that none is relied upon.
    bench.clock.advance_to(Duration::from_secs(3301));
    assert_eq!(tell(&autoscaler, &bench).await, Ok(200));
    assert_eq!(leader.identified(), 3);
    // One that is about to lapse is better than none.
    leader.turns(Manner::TakesNobodyIn);
    assert_eq!(tell(&autoscaler, &bench).await, Ok(200));
    assert!(
        autoscaler.make_ready(&bench.node).await.is_err(),
        "and who sees to it knows that it is the last one"
    );

    // The process forgets all tokens.
    let other = Process::start(Manner::Leads, DAY);
    let autoscaler = self::autoscaler(&[&other]);
    assert_eq!(tell(&autoscaler, &bench).await, Ok(200));
    let address = other.server.address();
    let identify = json!({"version": 1, "pkcs7": "another"});
    autoscaler.post(&bench.node, &address, "/v1/identify", &identify, WITHIN).await.expect("it answers");
    assert_eq!(other.identified(), 2, "somebody else has the last one");
    assert_eq!(tell(&autoscaler, &bench).await, Ok(200), "it proves itself again");
    assert_eq!(other.identified(), 3);
    other.turns(Manner::Refuses(401));
    assert_eq!(tell(&autoscaler, &bench).await, Ok(401), "but not for ever");
    assert_eq!(other.identified(), 4);
}

#[tokio::test]
async fn a_token_that_all_nodes_share_is_read_for_each_call_and_nobody_is_shown_a_document() {
    let leader = Process::start(Manner::Leads, DAY);
    let bench = Bench::new(|_| {});
    let file = tempfile::NamedTempFile::new().expect("a file");
    let token_file = Some(file.path().display().to_string());
    let autoscaler = Autoscaler::new(&AutoscalerSettings { token_file, ..of(&[&leader]) }).expect("a client");
    std::fs::write(file.path(), "token-7\n").expect("written");
    assert_eq!(tell(&autoscaler, &bench).await, Ok(401));
    // What the process takes while it has given none itself.
    std::fs::write(file.path(), "token-0\n").expect("written");
    autoscaler.make_ready(&bench.node).await.expect("there is nothing to do");
    assert_eq!(tell(&autoscaler, &bench).await, Ok(200));
    assert_eq!(leader.identified(), 0);
}

#[tokio::test]
async fn processes_are_turned_to_one_after_the_other_and_looked_for_again_once_around() {
    let (first, second) = (Process::start(Manner::Leads, DAY), Process::start(Manner::Leads, DAY));
    let services = Arc::new(Mutex::new(vec![first.server.at(), second.server.at()]));
    let shown = Arc::clone(&services);
    let consul = StandIn::start(move |_| {
        let rows: Vec<Value> = shown.lock().expect("whole").iter().map(|at| {
            json!({"Node": {"Address": "10.0.0.9"}, "Service": {"Address": at.ip(), "Port": at.port(), "Tags": ["http"]}})
        }).collect();
        Plays::json(&json!(rows))
    });
    let bench = Bench::new(|base| {
        let mut settings = ConsulSettings::default();
        settings.server.address = consul.address();
        base.consul = Some(settings);
    });
    let service = Some("muster-autoscaler".to_owned());
    let autoscaler = Autoscaler::new(&AutoscalerSettings { service, ..of(&[]) }).expect("a client");
    let finds = || consul.asked().len();
    let current = async || autoscaler.current(&bench.node).await.expect("one is known");
    autoscaler.make_ready(&bench.node).await.expect("both are there");
    assert_eq!((finds(), first.identified(), second.identified()), (1, 1, 1));
    assert_eq!(current().await, first.server.address());
    autoscaler.turn_from(&second.server.address());
    assert_eq!(current().await, first.server.address(), "it was not the current one");
    autoscaler.turn_from(&first.server.address());
    assert_eq!(current().await, second.server.address());
    // Nothing is wrong: looked for once a minute; whoever is known stays the current one, with his token.
    autoscaler.make_ready(&bench.node).await.expect("both are there");
    assert_eq!(finds(), 1);
    bench.clock.advance_to(Duration::from_secs(60));
    services.lock().expect("whole").reverse();
    autoscaler.make_ready(&bench.node).await.expect("both are there");
    assert_eq!((finds(), first.identified(), second.identified()), (2, 1, 1));
    assert_eq!(current().await, second.server.address());
    // One of them did not answer somebody: they are looked for at once, and still in its old place is who was current.
    services.lock().expect("whole").reverse();
    autoscaler.doubt();
    autoscaler.make_ready(&bench.node).await.expect("both are there");
    assert_eq!((finds(), first.identified(), second.identified()), (3, 1, 1));
    assert_eq!(current().await, second.server.address());
    // Once around: they may be others by now.
    autoscaler.turn_from(&second.server.address());
    assert_eq!(current().await, first.server.address());
    autoscaler.turn_from(&first.server.address());
    assert_eq!(current().await, second.server.address());
    services.lock().expect("whole").remove(0);
    autoscaler.make_ready(&bench.node).await.expect("one is there");
    assert_eq!(finds(), 4);
    autoscaler.make_ready(&bench.node).await.expect("one is there");
    assert_eq!(finds(), 4);
    // Nobody can say anything newer: what was known stays.
    services.lock().expect("whole").clear();
    bench.clock.advance_to(Duration::from_secs(200));
    autoscaler.make_ready(&bench.node).await.expect_err("none is there");
    assert_eq!(current().await, second.server.address());
}

#[tokio::test]
async fn it_knows_this_node_before_there_is_anything_to_tell() {
    let leader = Process::start(Manner::Leads, DAY);
    let bench = Bench::new(|base| base.watch.autoscaler = Some(of(&[&leader])));
    let _keeping = tokio::spawn(keep_known(Arc::clone(&bench.node), Arc::default()));
    bench.until("its token", || leader.identified() == 1).await;
    bench.seconds(60).await;
    assert_eq!(leader.identified(), 1, "it holds");
}

#[test]
fn another_configuration_is_another_autoscaler_and_the_same_is_the_same() {
    let (first, second) = (Process::start(Manner::Leads, DAY), Process::start(Manner::Leads, DAY));
    let told = Told::default();
    let one = told.of(&of(&[&first])).expect("a client");
    assert!(Arc::ptr_eq(&one, &told.of(&of(&[&first])).expect("a client")), "what is known of it is kept");
    assert!(!Arc::ptr_eq(&one, &told.of(&of(&[&second])).expect("a client")));
}

/// A second of the watch's time, in which the kernel has counted something.
async fn second(bench: &Bench) {
    let counted = || {
        let stat = std::fs::read_to_string("/proc/stat").expect("Linux tells");
        stat.lines().next().unwrap_or_default().to_owned()
    };
    let before = counted();
    bench.until("the kernel's ticks", || counted() != before).await;
    let now = bench.clock.monotonic() + Duration::from_secs(1);
    bench.clock.advance_to(now);
    bench.until("a look", || bench.clock.next_wake().is_some_and(|wake| wake > now)).await;
}

#[tokio::test]
async fn load_reaches_the_leader_though_a_standby_has_it_and_is_counted_while_somebody_hangs() {
    let (standby, leader) =
        (Process::start(Manner::StandsBy, DAY), Process::start(Manner::Refuses(503), DAY));
    let bench = Bench::new(|base| {
        base.watch.autoscaler = Some(of(&[&standby, &leader]));
        base.watch.samples = Duration::from_secs(1);
    });
    bench.node.set_ready(THEN);
    let _sampling = tokio::spawn(load::sample(Arc::clone(&bench.node), Arc::default()));
    bench.settle().await;
    second(&bench).await;
    bench.settle().await;
    assert_eq!(leader.samples(), [0, 0], "once more, and no more");
    assert_eq!(standby.samples(), [0], "it has it");
    leader.turns(Manner::Leads);
    second(&bench).await;
    bench.settle().await;
    // What is refused for good does not come again, to either.
    leader.turns(Manner::Refuses(404));
    second(&bench).await;
    bench.settle().await;
    assert_eq!((leader.samples(), standby.samples()), (vec![0, 0, 1, 2], vec![0, 1, 2]));
    leader.turns(Manner::Refuses(429));
    second(&bench).await;
    bench.settle().await;
    assert_eq!((leader.samples(), standby.samples()), (vec![0, 0, 1, 2, 3, 3], vec![0, 1, 2, 3]));
    // Samples are taken all the while that one of them hangs, and go out together then.
    leader.turns(Manner::Leads);
    standby.turns(Manner::Hangs);
    second(&bench).await;
    bench.until("who hangs", || standby.samples().last() == Some(&4)).await;
    for _ in 0..3 {
        second(&bench).await;
    }
    standby.turns(Manner::StandsBy);
    bench.settle().await;
    assert_eq!(leader.samples().last(), Some(&5));
    let last = leader.server.asked().last().expect("it was told").json();
    let samples = last["samples"].as_array().expect("samples");
    assert_eq!(samples.len(), 3, "what was taken meanwhile");
    for sample in samples {
        assert_eq!(sample["period_ms"], 1000, "{sample}");
        let has_pressure = std::path::Path::new("/proc/pressure/cpu").exists();
        let of_the_kernel = ["utilization", "load_per_core", "psi"];
        for of_the_kernel in &of_the_kernel[..if has_pressure { 3 } else { 2 }] {
            assert!(
                sample[*of_the_kernel].as_f64().is_some_and(|value| value >= 0.0),
                "{of_the_kernel}: {sample}"
            );
        }
    }
}

#[tokio::test]
async fn what_a_boot_computes_is_no_load_and_an_agent_that_is_started_again_goes_on_telling() {
    let leader = Process::start(Manner::Leads, DAY);
    let bench = Bench::new(|base| {
        base.watch.autoscaler = Some(of(&[&leader]));
        base.watch.samples = Duration::from_secs(2);
    });
    let told = || {
        let asked = leader.server.asked().into_iter().filter(|asked| asked.path == "/v1/samples");
        let ends = asked.map(|asked| asked.json()["samples"][0]["end_ms"].as_i64().expect("a time"));
        ends.map(|end| Timestamp::from_millis(end).since(THEN).as_secs()).collect::<Vec<_>>()
    };
    let sampling = tokio::spawn(load::sample(Arc::clone(&bench.node), Arc::default()));
    bench.settle().await;
    for _ in 0..5 {
        second(&bench).await;
    }
    bench.node.set_ready(bench.clock.wall());
    for _ in 0..3 {
        second(&bench).await;
        bench.settle().await;
    }
    // It was ready at 5 s, and that was seen a second later.
    assert_eq!(told(), [8]);
    sampling.abort();
    let again = Bench::new(|base| {
        base.watch.autoscaler = Some(of(&[&leader]));
        base.watch.samples = Duration::from_secs(2);
    });
    again.node.set_served(true);
    let _sampling = tokio::spawn(load::sample(Arc::clone(&again.node), Arc::default()));
    again.settle().await;
    for _ in 0..2 {
        second(&again).await;
        again.settle().await;
    }
    assert_eq!(told(), [8, 2], "work is here from before");
}

#[tokio::test]
async fn a_process_that_shows_what_it_was_asked_has_it_shown_to_nobody() {
    let takes_in = Arc::new(AtomicBool::new(false));
    let taken = Arc::clone(&takes_in);
    let server = StandIn::start(move |asked| {
        if asked.path == "/v1/identify" && taken.load(Ordering::Relaxed) {
            return Plays::json(&json!({"token": "planted-token", "expires": THEN + DAY}));
        }
        Plays::Says(400, Vec::new(), format!("{} {}", asked.body, asked.headers.join(" ")))
    });
    let bench = Bench::new(|_| {});
    let mut own = proved();
    own.pkcs7 = "MIAG\nplanted-proof\n".to_owned();
    bench.node.set_proved(own);
    let settings = AutoscalerSettings { addresses: vec![server.address()], ..of(&[]) };
    let autoscaler = Autoscaler::new(&settings).expect("a client");
    let refused = autoscaler.make_ready(&bench.node).await.expect_err("it is refused");
    assert!(refused.what.contains("(secret)") && !refused.what.contains("planted"), "{refused}");
    takes_in.store(true, Ordering::Relaxed);
    let within = Duration::from_secs(5);
    let reply = autoscaler.post(&bench.node, &server.address(), "/v1/samples", &json!({}), within).await;
    let words = reply.expect("it answers").words();
    assert!(words.contains("(secret)") && !words.contains("planted"), "{words}");
}

#[tokio::test]
async fn a_token_that_cannot_be_read_is_not_shown() {
    let server = StandIn::start(|_| Plays::json(&json!({"token": ["planted"], "expires": "planted"})));
    let bench = Bench::new(|_| {});
    let settings = AutoscalerSettings { addresses: vec![server.address()], ..of(&[]) };
    let autoscaler = Autoscaler::new(&settings).expect("a client");
    let refused = autoscaler.make_ready(&bench.node).await.expect_err("it is none");
    assert!(
        refused.what.contains("no token that can be read") && !refused.what.contains("planted"),
        "{refused}"
    );
}

#[test]
fn who_else_is_trusted_by_now_is_spoken_to_and_half_a_file_changes_nothing() {
    let place = tempfile::tempdir().expect("a directory");
    let ca = place.path().join("ca.pem");
    let authority = || muster_test_servers::Authority::new().pem();
    let ca_file = Some(ca.to_str().expect("a path in UTF-8").to_owned());
    let (told, settings) = (Told::default(), AutoscalerSettings { ca_file, ..of(&[]) });
    let write = |text: &str| std::fs::write(&ca, text).expect("written");
    let held = || told.of(&settings).expect("a client");
    write(&authority());
    let first = held();
    assert!(Arc::ptr_eq(&first, &held()));
    let next = authority();
    write(&next[..100]);
    assert!(Arc::ptr_eq(&first, &held()), "the one before goes on");
    // Of another length, whatever the disk's clock says.
    write(&format!("{next}\n"));
    let second = held();
    assert!(!Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&second, &held()));
}
