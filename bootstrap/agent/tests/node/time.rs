//! The clock: right by the metadata service's, set where it is not.

use crate::standin::Bench;
use bootstrap_agent::drive::Works as _;
use bootstrap_agent::host::{Request, Verb};
use bootstrap_config::{Settings, TimeSettings};
use bootstrap_core::{Checked, Step};
use fleet::Timestamp;
use fleet::ports::Clock as _;
use muster_test_servers::{Plays, StandIn};
use std::time::Duration;

/// The service's time.
const THEN: i64 = 1_700_000_000;
const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

fn bench(ahead: i64) -> Bench {
    let service = StandIn::start(|asked| {
        let text = if asked.method == "PUT" { "token" } else { "i-1" };
        Plays::Says(200, vec![format!("Date: {DATE}")], text.to_owned())
    });
    let time = TimeSettings { unit: Some("chrony.service".to_owned()), ..TimeSettings::default() };
    Bench::new(service, Settings { time, ..Settings::default() }, Timestamp::from_secs(THEN + ahead))
}

#[tokio::test]
async fn a_clock_is_right_by_as_much_as_is_allowed_and_no_more() {
    for (ahead, expected) in [
        (0, Checked::Already),
        (10, Checked::Already),
        (-10, Checked::Already),
        (11, Checked::Needed),
        (-11, Checked::Needed),
        (86_400 * 365, Checked::Needed),
    ] {
        let bench = bench(ahead);
        let (found, _) = bench.node.check(Step::Time, None).await.expect("it can be compared");
        assert_eq!(found, expected, "{ahead} s ahead");
    }
}

/// What applying comes to; the clock is moved on whenever it is waited for.
async fn applied(bench: &Bench) -> Result<Option<String>, String> {
    let notes = bootstrap_agent::drive::Notes::nobody();
    let apply = bench.node.apply(Step::Time, None, notes);
    tokio::pin!(apply);
    loop {
        tokio::select! {
            made = &mut apply => return made.map_err(|failure| failure.to_string()),
            () = tokio::task::yield_now() => {
                if let Some(wake) = bench.clock.next_wake() {
                    bench.clock.advance_to(wake);
                }
            }
        }
    }
}

#[tokio::test]
async fn who_sets_the_clock_is_restarted_and_waited_for() {
    let bench = bench(-3600);
    let clock = bench.clock.clone();
    *bench.host.then.lock().expect("whole") = Some(Box::new(move || clock.jump_wall(3_600_000)));
    assert_eq!(applied(&bench).await, Ok(None));
    let unit = "chrony.service".to_owned();
    assert_eq!(*bench.host.asked.lock().expect("whole"), [Request::Unit { verb: Verb::Restart, unit }]);
    let (found, _) = bench.node.check(Step::Time, None).await.expect("it can be compared");
    assert_eq!(found, Checked::Already);
}

#[tokio::test]
async fn a_clock_that_nobody_sets_is_told_with_how_far_it_is_off() {
    let bench = bench(7200);
    let why = applied(&bench).await.expect_err("it stays wrong");
    assert!(
        why.contains("ahead of the metadata service's") && why.contains("chrony.service was restarted"),
        "{why}"
    );
    assert!(bench.clock.monotonic() >= Duration::from_secs(20), "it was waited for");
}
