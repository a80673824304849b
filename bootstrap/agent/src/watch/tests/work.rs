//! Work that is to be kept away, until root has seen to it.

use super::*;
use crate::drive::Works as _;
use crate::node::Consequence;
use crate::steps::READY;
use crate::watch::consequences::carry_out;
use bootstrap_config::{Loaded, NomadSettings, Problems};
use bootstrap_core::{Failure, OnFailure, Step};

/// A node with a client of Nomad, whose step `monitoring` has failed, and whose root fails so often.
struct Withheld {
    bench: Bench,
    say: mpsc::UnboundedSender<Consequence>,
    orders: mpsc::Receiver<Command>,
}

fn withheld(fails: u32) -> Withheld {
    let bench = Bench::new(|_| {});
    let settings = Settings { nomad: Some(NomadSettings::default()), ..Settings::default() };
    bench.node.set_loaded(Loaded { settings, values: Vec::new(), warnings: Problems::default() });
    let failure = Failure::new(ErrorClass::Unclear, "x");
    bench.node.act(Step::Monitoring, OnFailure::Quarantine, &failure);
    *bench.host.fails.lock().expect("whole") = fails;
    std::fs::create_dir_all(&bench.node.directories.run).expect("made");
    std::fs::write(bench.node.directories.run.join(READY), OWN).expect("written");
    let (say, consequences) = mpsc::unbounded_channel();
    let (commands, orders) = mpsc::channel(4);
    tokio::spawn(carry_out(Arc::clone(&bench.node), commands, consequences));
    let withhold =
        Consequence::Withhold { step: Step::Monitoring, unhealthy: false, why: "it is down".to_owned() };
    say.send(withhold).expect("it listens");
    Withheld { bench, say, orders }
}

#[tokio::test]
async fn a_client_is_taken_out_of_its_pool_until_that_is_done() {
    let Withheld { bench, say, mut orders } = withheld(2);
    bench.seconds(1).await;
    assert!(!bench.node.directories.run.join(READY).exists(), "whoever asks is told");
    assert_eq!(bench.asked().len(), 1, "its configuration could not be placed");
    // That another step stands again settles nothing.
    say.send(Consequence::Restore { step: Step::Vault }).expect("it listens");
    bench.settle().await;
    assert_eq!(orders.try_recv(), Ok(Command::Verify), "but is worth a look");
    bench.seconds(11).await;
    assert_eq!(bench.asked().len(), 2);
    bench.seconds(10).await;
    assert_eq!(bench.asked()[2..], ["write the file nomad", "try-restart nomad.service"]);
    bench.seconds(60).await;
    assert_eq!(bench.asked().len(), 4, "and not again");
}

#[tokio::test]
async fn nobody_is_asked_to_keep_work_away_that_may_land_again() {
    let Withheld { bench, say: _say, .. } = withheld(u32::MAX);
    bench.seconds(12).await;
    assert_eq!(bench.asked().len(), 2);
    bench.node.recovered(Step::Monitoring);
    bench.seconds(60).await;
    assert_eq!(bench.asked().len(), 2);
}

#[tokio::test]
async fn an_instance_that_is_to_end_itself_takes_no_work_meanwhile() {
    let Withheld { bench, say, .. } = withheld(1);
    bench.seconds(1).await;
    assert_eq!(bench.asked().len(), 1);
    say.send(Consequence::Terminate { step: Step::Monitoring, why: "it is down".to_owned() })
        .expect("it listens");
    bench.seconds(1).await;
    assert_eq!(bench.asked()[1..], ["write the file nomad", "try-restart nomad.service"]);
    assert!(bench.node.alarms()[0].contains("was to end itself"), "nobody can be asked whether it may");
}

#[tokio::test]
async fn questions_to_root_that_nobody_asks_any_more_alarm_nobody() {
    let bench = Bench::new(|_| {});
    let load = |nomad: &str| {
        let nomad = NomadSettings { file: nomad.to_owned(), ..NomadSettings::default() };
        let settings = Settings { nomad: Some(nomad), ..Settings::default() };
        bench.node.set_loaded(Loaded { settings, values: Vec::new(), warnings: Problems::default() });
    };
    load("nomad");
    bench.node.alarm("look at the file nomad".to_owned(), Some("nobody has answered".to_owned()));
    bench.node.alarm("vault", Some("vault: sealed".to_owned()));
    load("nomad");
    assert_eq!(bench.node.alarms(), ["nobody has answered", "vault: sealed"], "it is the same question");
    load("client");
    assert_eq!(bench.node.alarms(), ["vault: sealed"]);
}
