//! What a channel becomes: pure.

use fleet::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many entries a channel keeps: of two a day this is more than a week, and all of them are two pages of a listing.
pub const KEPT: u64 = 20;

/// One change of a channel. In a parameter as JSON, far below the 4096 bytes that one holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Counts the channel's changes, from 1 on.
    pub generation: u64,
    /// The image that the channel has from here on.
    pub image: String,
    /// What brought it there.
    pub change: Change,
    /// The image that a rollback from here goes to, where there is one.
    pub before: Option<String>,
    /// When, by the clock of who changed it.
    pub at: Timestamp,
    /// What tells this attempt from all others: whose entry it is, where an answer was lost.
    pub attempt: String,
}

/// What changes a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A new image came in.
    Published,
    /// It was good enough in another channel.
    Promoted {
        /// Which.
        from: String,
    },
    /// What was there was taken back.
    RolledBack {
        /// The image that was there.
        image: String,
    },
}

/// What somebody wants of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That it has this image.
    Image {
        /// Which.
        image: String,
        /// [`Change::Published`] or [`Change::Promoted`].
        change: Change,
        /// Also where it was taken back from this channel before.
        again: bool,
    },
    /// The image that it had before.
    Back,
}

/// Why a channel stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Refusal {
    /// It is not what the caller took it for.
    #[error("the channel is at {}, not at {expected}", found.as_deref().unwrap_or("nothing"))]
    Moved {
        /// What the caller took it for.
        expected: String,
        /// What it is at.
        found: Option<String>,
    },
    /// The image was taken back from it.
    #[error("{image} was taken back from the channel at {at}: --again says that it is good now")]
    TakenBack {
        /// Which.
        image: String,
        /// When.
        at: Timestamp,
    },
    /// There is nothing to go back to.
    #[error("the channel knows of no image before {}", current.as_deref().unwrap_or("its first"))]
    NothingBefore {
        /// What it is at.
        current: Option<String>,
    },
    /// It has not been where it comes from for long enough.
    #[error("{image} is in {channel} only since {since}; it is to be there for {}", fleet::DurationText(*wanted))]
    TooSoon {
        /// Which.
        image: String,
        /// Where it comes from.
        channel: String,
        /// Since when.
        since: Timestamp,
        /// How long it is to be there.
        wanted: Duration,
    },
}

/// What has to be done for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is so already.
    Nothing(Entry),
    /// This entry is to be written.
    Write(Entry),
}

/// The entries of a channel, oldest first, without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    entries: Vec<Entry>,
    /// Generations that are there and no part of it: written by somebody who was frozen for [`KEPT`] changes.
    stray: Vec<u64>,
}

impl Journal {
    /// Makes a journal of entries in any order: the newest, and those below it without a gap.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.generation);
        let mut kept: Vec<Entry> = Vec::new();
        let mut stray = Vec::new();
        for entry in entries.into_iter().rev() {
            match kept.last() {
                Some(above) if above.generation != entry.generation + 1 => stray.push(entry.generation),
                _ if !stray.is_empty() => stray.push(entry.generation),
                _ => kept.push(entry),
            }
        }
        kept.reverse();
        Self { entries: kept, stray }
    }
    /// The newest entry: what the channel is.
    pub fn current(&self) -> Option<&Entry> {
        self.entries.last()
    }
    /// All, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
    /// Whether an entry is part of it, and not of what is dropped.
    pub fn has(&self, entry: &Entry) -> bool {
        let newest = self.current().map_or(0, |current| current.generation);
        entry.generation + KEPT > newest && self.entries.contains(entry)
    }
    /// The generations that are not kept.
    pub fn superfluous(&self) -> Vec<u64> {
        let newest = self.current().map_or(0, |entry| entry.generation);
        let old = self.entries.iter().map(|entry| entry.generation).filter(|one| one + KEPT <= newest);
        self.stray.iter().copied().chain(old).collect()
    }
    /// The images that it has had, newest first, each once.
    pub fn images(&self) -> Vec<&str> {
        let mut seen: Vec<&str> = Vec::new();
        for entry in self.entries.iter().rev() {
            if !seen.contains(&entry.image.as_str()) {
                seen.push(&entry.image);
            }
        }
        seen
    }
    /// When an image was taken back, unless it came again since.
    fn taken_back(&self, image: &str) -> Option<Timestamp> {
        self.entries.iter().rev().find_map(|entry| match &entry.change {
            Change::RolledBack { image: of } if of == image => Some(Some(entry.at)),
            Change::Published | Change::Promoted { .. } if entry.image == image => Some(None),
            _ => None,
        })?
    }
    /// What a rollback from an image that a rollback brings back goes to: what it went to when it came.
    fn before_of(&self, image: &str) -> Option<String> {
        let came =
            |entry: &&Entry| entry.image == image && !matches!(entry.change, Change::RolledBack { .. });
        self.entries.iter().rev().find(came)?.before.clone()
    }
}

/// What a channel becomes.
///
/// * `expected`: what the caller takes it to be at, where it matters to them.
/// * `attempt`: a text that no other attempt has.
/// * returns: the step, or why there is none. Planning again after the step is done comes to [`Step::Nothing`] for an image;
///   a rollback is a step each time.
pub fn plan(
    journal: &Journal,
    wanted: &Wanted,
    expected: Option<&str>,
    attempt: &str,
    now: Timestamp,
) -> Result<Step, Refusal> {
    let current = journal.current();
    let image = current.map(|entry| entry.image.clone());
    if let Some(expected) = expected
        && image.as_deref() != Some(expected)
    {
        return Err(Refusal::Moved { expected: expected.to_owned(), found: image });
    }
    let (to, change, before) = match wanted {
        Wanted::Image { image: to, change, again } => {
            if let Some(current) = current.filter(|current| current.image == *to) {
                return Ok(Step::Nothing(current.clone()));
            }
            if let Some(at) = journal.taken_back(to).filter(|_| !again) {
                return Err(Refusal::TakenBack { image: to.clone(), at });
            }
            (to.clone(), change.clone(), image)
        }
        Wanted::Back => {
            let Some((current, to)) = current.and_then(|current| Some((current, current.before.clone()?)))
            else {
                return Err(Refusal::NothingBefore { current: image });
            };
            let before = journal.before_of(&to);
            (to, Change::RolledBack { image: current.image.clone() }, before)
        }
    };
    Ok(Step::Write(Entry {
        generation: current.map_or(0, |current| current.generation) + 1,
        image: to,
        change,
        before,
        at: now,
        attempt: attempt.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + seconds)
    }

    fn publish(image: &str) -> Wanted {
        Wanted::Image { image: image.to_owned(), change: Change::Published, again: false }
    }

    /// The journal after these, each of which must be a step.
    fn after(wanted: &[Wanted]) -> Journal {
        let mut journal = Journal::default();
        for (place, wanted) in wanted.iter().enumerate() {
            let time = at(i64::try_from(place).expect("few"));
            let Ok(Step::Write(entry)) = plan(&journal, wanted, None, &place.to_string(), time) else {
                panic!("{wanted:?} is no step")
            };
            journal = Journal::new(journal.entries.into_iter().chain([entry]).collect());
        }
        journal
    }

    fn image(journal: &Journal) -> &str {
        &journal.current().expect("an entry").image
    }

    #[test]
    fn a_rollback_goes_back_one_image_and_the_next_one_more() {
        let three = [publish("ami-1"), publish("ami-2"), publish("ami-3")];
        for (backs, expected) in [(0, "ami-3"), (1, "ami-2"), (2, "ami-1")] {
            let wanted: Vec<Wanted> =
                three.iter().cloned().chain(std::iter::repeat_n(Wanted::Back, backs)).collect();
            assert_eq!(image(&after(&wanted)), expected, "after {backs}");
        }
        let all: Vec<Wanted> = three.into_iter().chain([Wanted::Back, Wanted::Back]).collect();
        let refused = plan(&after(&all), &Wanted::Back, None, "x", at(9));
        assert_eq!(refused, Err(Refusal::NothingBefore { current: Some("ami-1".into()) }));
        assert_eq!(
            plan(&Journal::default(), &Wanted::Back, None, "x", at(9)),
            Err(Refusal::NothingBefore { current: None })
        );
    }

    #[test]
    fn after_a_rollback_and_a_new_image_one_goes_back_to_what_was_there_then() {
        let journal =
            after(&[publish("ami-1"), publish("ami-2"), Wanted::Back, publish("ami-3"), Wanted::Back]);
        assert_eq!(image(&journal), "ami-1");
    }

    #[test]
    fn what_is_so_already_is_no_step() {
        let journal = after(&[publish("ami-1")]);
        let step = plan(&journal, &publish("ami-1"), None, "x", at(9)).expect("no refusal");
        assert_eq!(step, Step::Nothing(journal.entries[0].clone()));
    }

    #[test]
    fn what_was_taken_back_comes_again_only_when_somebody_says_so() {
        let journal = after(&[publish("ami-1"), publish("ami-2"), Wanted::Back]);
        let refused = plan(&journal, &publish("ami-2"), None, "x", at(9));
        assert_eq!(refused, Err(Refusal::TakenBack { image: "ami-2".into(), at: at(2) }));
        let again = Wanted::Image { image: "ami-2".into(), change: Change::Published, again: true };
        let Ok(Step::Write(entry)) = plan(&journal, &again, None, "x", at(9)) else { panic!("no step") };
        let journal = Journal::new(journal.entries.into_iter().chain([entry]).collect());
        let journal = match plan(&journal, &publish("ami-3"), None, "y", at(10)) {
            Ok(Step::Write(entry)) => Journal::new(journal.entries.into_iter().chain([entry]).collect()),
            other => panic!("{other:?}"),
        };
        assert!(matches!(plan(&journal, &publish("ami-2"), None, "z", at(11)), Ok(Step::Write(_))));
    }

    #[test]
    fn a_channel_that_is_not_what_the_caller_took_it_for_stays() {
        let journal = after(&[publish("ami-1")]);
        let moved = |expected: &str, found: Option<&str>| {
            Err(Refusal::Moved { expected: expected.into(), found: found.map(str::to_owned) })
        };
        assert_eq!(
            plan(&journal, &publish("ami-2"), Some("ami-0"), "x", at(9)),
            moved("ami-0", Some("ami-1"))
        );
        assert_eq!(plan(&Journal::default(), &Wanted::Back, Some("ami-0"), "x", at(9)), moved("ami-0", None));
        assert!(matches!(plan(&journal, &publish("ami-2"), Some("ami-1"), "x", at(9)), Ok(Step::Write(_))));
    }

    #[test]
    fn an_entry_of_somebody_who_was_frozen_for_long_is_no_part_of_the_journal() {
        let many: Vec<Wanted> = (0..30).map(|number| publish(&format!("ami-{number}"))).collect();
        let journal = after(&many);
        let kept: Vec<Entry> = journal.entries.iter().rev().take(20).cloned().collect();
        let frozen = Entry { generation: 4, attempt: "frozen".into(), ..journal.entries[3].clone() };
        let seen = Journal::new(kept.iter().cloned().chain([frozen.clone()]).collect());
        assert_eq!((seen.entries.len(), image(&seen)), (20, "ami-29"));
        assert!(!seen.has(&frozen));
        assert_eq!(seen.superfluous(), [4]);
        assert_eq!(journal.superfluous(), (1..=10).collect::<Vec<u64>>());
    }

    #[test]
    fn an_entry_reads_as_it_is_written_and_nothing_else_does() {
        let entry = after(&[publish("ami-1"), publish("ami-2"), Wanted::Back]).entries[2].clone();
        let text = serde_json::to_string(&entry).expect("JSON");
        assert_eq!(serde_json::from_str::<Entry>(&text).expect("an entry"), entry);
        assert!(text.len() < 1024, "{text}");
        for wrong in ["ami-1", "{}", &text.replace("generation", "number")] {
            assert!(serde_json::from_str::<Entry>(wrong).is_err(), "{wrong}");
        }
    }
}
