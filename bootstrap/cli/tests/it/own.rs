//! Whose time a boot takes: the agent's own, and that of those whom it waits for.
//!
//! A wait is somebody else's as long as another look finds that it is not over. The pause in which it ended is the agent's own, all of
//! it: nobody can say when within it that was. Somebody else's, too, is what root needs to stop and to start a unit.

use fleet::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// From when to when.
pub type Span = (Timestamp, Timestamp);

/// What a look may take: what comes later than that after a pause is another wait.
const LOOK: Duration = Duration::from_millis(500);

/// Waits of steps that were not over yet, by the log of the agent.
pub fn waited(log: &str) -> Vec<Span> {
    let mut pauses: BTreeMap<&str, Vec<(Timestamp, Duration)>> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains(": a step waits ")) {
        let of = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
        let at = line.split_whitespace().next().and_then(|time| Timestamp::parse(time).ok());
        let pause = of("pause_ms=").and_then(|pause| pause.parse().ok()).map(Duration::from_millis);
        let (Some(at), Some(pause), Some(step)) = (at, pause, of("step=")) else { panic!("{line}") };
        pauses.entry(step).or_default().push((at, pause));
    }
    let of_step = |pauses: Vec<(Timestamp, Duration)>| {
        let others = pauses.windows(2).filter_map(|pair| {
            let [(begun, pause), (next, _)] = pair else { return None };
            (*next <= *begun + *pause + LOOK).then_some((*begun, *next))
        });
        others.collect::<Vec<_>>()
    };
    pauses.into_values().flat_map(of_step).collect()
}

/// What of a time is nobody else's.
pub fn own((begun, ended): Span, mut others: Vec<Span>) -> Duration {
    others.sort_unstable();
    let (mut own, mut until) = (Duration::ZERO, begun);
    for (from, to) in others {
        own += from.min(ended).since(until);
        until = until.max(to);
    }
    own + ended.since(until)
}

#[test]
fn a_wait_is_somebody_elses_but_for_the_pause_in_which_it_ended() {
    let line = |millis: u32, step: &str, pause: u32| {
        format!(
            "2026-11-28T00:00:{:02}.{:03}000Z DEBUG bootstrap_agent::node: a step waits step={step} pause_ms={pause}\n",
            millis / 1000,
            millis % 1000
        )
    };
    let begun = Timestamp::parse("2026-11-28T00:00:00Z").expect("a time");
    let at = |millis: u64| begun + Duration::from_millis(millis);
    // Three looks of one wait, and later another one; another step meanwhile.
    let log = [
        line(1000, "consul", 20),
        line(1030, "consul", 20),
        line(1060, "consul", 30),
        line(3000, "consul", 20),
    ];
    let log = log.concat() + "another line\n" + &line(1010, "vault", 40) + &line(1055, "vault", 40);
    let mut waited = waited(&log);
    waited.sort_unstable();
    assert_eq!(waited, [(at(1000), at(1030)), (at(1010), at(1055)), (at(1030), at(1060))]);
    assert_eq!(own((begun, at(4000)), waited), Duration::from_millis(3940));
    assert_eq!(
        own((begun, at(1000)), vec![(at(900), at(2000)), (at(3000), at(4000))]),
        Duration::from_millis(900)
    );
}
