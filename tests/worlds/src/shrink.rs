//! What of a fate was needed for its failure.

use crate::fate::{Fate, run};
use std::time::Duration;

/// What kind of complaint it is: its first word after the time.
pub fn kind(complaint: &str) -> &str {
    let words = complaint.split_once(" s: ").map_or(complaint, |(_, words)| words);
    words.split([':', ' ']).next().unwrap_or(words)
}

/// A smaller fate that fails in the same way: troubles are left out one by one, then made shorter, as long as that
/// goes on. The fate itself where nothing can be left out, or where it does not fail.
///
/// * `goes_on`: asked before each world; once it says no, what has been found by then is given.
///
/// Costs some tens of worlds.
pub fn shrink(fate: &Fate, goes_on: impl Fn() -> bool) -> Fate {
    let mut smallest = Fate { replays: false, ..fate.clone() };
    let Some(wanted) = first_of(&smallest) else { return fate.clone() };
    let fails = |fate: &Fate| goes_on() && first_of(fate).as_ref() == Some(&wanted);
    loop {
        let before = smallest.troubles.clone();
        for place in (0..smallest.troubles.len()).rev() {
            let mut without = smallest.clone();
            without.troubles.remove(place);
            if fails(&without) {
                smallest = without;
            }
        }
        for place in 0..smallest.troubles.len() {
            let mut shorter = smallest.clone();
            let trouble = &mut shorter.troubles[place];
            let lasts = trouble.until.saturating_sub(trouble.from) / 2;
            trouble.until = trouble.from + Duration::from_secs(lasts.as_secs().max(1));
            if trouble.until < smallest.troubles[place].until && fails(&shorter) {
                smallest = shorter;
            }
        }
        if smallest.troubles == before {
            return smallest;
        }
    }
}

fn first_of(fate: &Fate) -> Option<String> {
    let ended = std::panic::catch_unwind(|| run(fate));
    match ended {
        Ok(outcome) => outcome.complaints.first().map(|complaint| kind(complaint).to_owned()),
        Err(_) => Some("panic".to_owned()),
    }
}
