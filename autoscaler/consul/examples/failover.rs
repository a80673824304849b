//! How long nobody leads: a real Consul, two processes, and one of them goes.
//!
//! `cargo run --release -p autoscaler-consul --example failover [ROUNDS]`, after `cargo build --release
//! -p autoscaler-consul --example contender`. Prints, for a leader that is killed, frozen, and ended, the time
//! from the signal to the first write of the next leader (min, median, max of ROUNDS; 7 without), and whether a
//! frozen leader wrote after it woke.

#[path = "../tests/real/contest.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod contest;

use contest::Contest;
use std::io::Write as _;

/// How a leader goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Killed,
    Frozen,
    Ended,
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(7, |text| text.parse().expect("a number of rounds"));
    let mut out = std::io::stdout();
    for (way, name) in [
        (Way::Killed, "killed (SIGKILL)"),
        (Way::Frozen, "frozen (SIGSTOP)"),
        (Way::Ended, "ended (SIGTERM)"),
    ] {
        let (mut times, woken) = measure(way, rounds);
        times.sort_unstable();
        let (min, median, max) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        write!(out, "{name}: {rounds} rounds, next leader's first write after {min} / {median} / {max} ms")
            .expect("standard output");
        let woken =
            if way == Way::Frozen { format!("; writes begun after waking: {woken}") } else { String::new() };
        writeln!(out, "{woken}").expect("standard output");
    }
}

/// The times of each round, and how often a frozen leader wrote after it woke, before it led again.
fn measure(way: Way, rounds: usize) -> (Vec<i64>, usize) {
    let (mut contest, mut leader) = Contest::start_led(&["one", "two"]);
    let (mut times, mut woken_writes) = (Vec::new(), 0);
    for round in 0..rounds {
        let since = contest.now();
        match way {
            Way::Killed => contest.kill(&leader),
            Way::Frozen => contest.signal(&leader, "STOP"),
            Way::Ended => contest.end(&leader),
        }
        let next = contest.wait_for_write("the next leader", |line| line.at > since && line.name != leader);
        times.push(next.at - since);
        let back = contest.now();
        if way == Way::Frozen {
            contest.signal(&leader, "CONT");
        } else {
            // A name of its own: terms are counted from 1 again.
            leader = format!("again-{round}");
            contest.start(&leader);
        }
        contest.wait_for_role(&leader, "standby", back);
        contest.wait_until_warm(&leader);
        let wrote = |line: &&contest::Line| line.name == leader && line.at >= back;
        woken_writes += contest.writes().iter().filter(wrote).count();
        leader = next.name;
    }
    contest.reigns();
    (times, woken_writes)
}
