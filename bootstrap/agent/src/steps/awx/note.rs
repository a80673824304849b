//! How far AWX's job is, in the note of the progress: what has to be found again whatever happens in between.
//!
//! Clauses of a word and what it says, in any order, as in `job 18 of 3f2a ended 17 of 3f2a failures 1`:
//!
//! | clause | says |
//! |---|---|
//! | `ended 17 of INPUTS` | the last job that succeeded, and of which inputs: the node stands as it left it |
//! | `job 18 of INPUTS` | it was asked for, and has not been seen to end; `job ?`: its number is not known |
//! | `drift TIME` | a run after the boot is due, or under way, since then |
//! | `failures 2` | so many runs after the boot failed, one after the other |
//! | `over 18` | this job and those before it are over: what is looked for is newer |

use bootstrap_core::{Entry, Inputs};
use fleet::Timestamp;
use std::fmt;

/// A job, and what was asked for with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its number; `None`: it is not known.
    pub(super) job: Option<u64>,
    /// The inputs that it was asked for with.
    pub(super) of: Inputs,
}

/// The note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// The last job that succeeded.
    pub(super) ended: Option<Asked>,
    /// The job that is waited for.
    pub(super) runs: Option<Asked>,
    /// When the run after the boot began.
    pub(super) drift: Option<Timestamp>,
    /// Runs after the boot that failed in a row.
    pub(super) failures: u32,
    over: Option<u64>,
}

impl Note {
    /// Reads a line's note. Total: what makes no sense says nothing.
    pub(super) fn of(last: Option<&Entry>) -> Self {
        let text = last.and_then(|entry| entry.note.as_deref()).unwrap_or_default();
        let mut note = Self::default();
        let (mut words, mut before) = (text.split(' '), "");
        while let (Some(word), Some(says)) = (words.next(), words.next()) {
            let asked = || Some(Asked { job: says.parse().ok(), of: Inputs::none() });
            match word {
                "ended" => note.ended = asked(),
                "job" => note.runs = asked(),
                "drift" => note.drift = Timestamp::parse(says).ok(),
                "failures" => note.failures = says.parse().unwrap_or_default(),
                "over" => note.over = says.parse().ok(),
                "of" => {
                    let asked = if before == "job" { &mut note.runs } else { &mut note.ended };
                    if let Some(asked) = asked {
                        asked.of = Inputs::new(says);
                    }
                }
                _ => {}
            }
            before = word;
        }
        note
    }

    /// Whether the last job that succeeded was of these inputs: another one is to find and mend drift.
    pub(super) fn has_ended(&self, inputs: &Inputs) -> bool {
        self.ended.as_ref().is_some_and(|ended| ended.of == *inputs)
    }

    /// The job that is waited for, if it is of these inputs.
    pub(super) fn running(&self, inputs: &Inputs) -> Option<&Asked> {
        self.runs.as_ref().filter(|runs| runs.of == *inputs)
    }

    /// The newest job that is known to be over.
    pub(super) fn over(&self) -> Option<u64> {
        self.over.max(self.ended.as_ref().and_then(|ended| ended.job))
    }

    /// The job that was waited for is over, or nobody waits for it any more.
    pub(super) fn give_up(&mut self, job: Option<u64>) {
        let noted = self.runs.take().and_then(|runs| runs.job);
        self.over = self.over().max(job).max(noted);
    }

    /// What was done is of other inputs: none of it counts, but that those jobs are over.
    pub(super) fn begin_anew(&mut self) {
        self.give_up(None);
        *self = Self { over: self.over, ..Self::default() };
    }

    /// A job has succeeded.
    pub(super) fn ended(job: Option<u64>, of: Inputs) -> Self {
        Self { ended: Some(Asked { job, of }), ..Self::default() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ended, runs, drift, failures, over } = self;
        let asked = |word: &str, asked: &Option<Asked>| {
            asked.as_ref().map(|Asked { job, of }| {
                let job = job.map_or_else(|| "?".to_owned(), |job| job.to_string());
                format!("{word} {job} of {of}")
            })
        };
        let clauses = [
            asked("job", runs),
            asked("ended", ended),
            drift.map(|drift| format!("drift {drift}")),
            Some(*failures).filter(|failures| *failures > 0).map(|failures| format!("failures {failures}")),
            over.map(|over| format!("over {over}")),
        ];
        let clauses: Vec<String> = clauses.into_iter().flatten().collect();
        f.write_str(&clauses.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootstrap_core::{Phase, Step};

    fn of(text: &str) -> Note {
        let (step, phase, inputs) = (Step::Awx, Phase::Intent, Inputs::none());
        Note::of(Some(&Entry { step, phase, inputs, at: Timestamp::EPOCH, note: Some(text.to_owned()) }))
    }

    #[test]
    fn a_note_says_how_far_it_is() {
        let asked = |job, of| Some(Asked { job, of: Inputs::new(of) });
        for (text, note) in [
            ("", Note::default()),
            ("ended 17 of 3f2a", Note { ended: asked(Some(17), "3f2a"), ..Note::default() }),
            ("job ? of 3f2a", Note { runs: asked(None, "3f2a"), ..Note::default() }),
            (
                "job 18 of 3f2a ended 17 of 77 drift 1970-01-01T00:00:07Z failures 2 over 16",
                Note {
                    ended: asked(Some(17), "77"),
                    runs: asked(Some(18), "3f2a"),
                    drift: Some(Timestamp::from_secs(7)),
                    failures: 2,
                    over: Some(16),
                },
            ),
        ] {
            assert_eq!(of(text), note);
            assert_eq!(note.to_string(), text);
        }
        assert_eq!(Note::of(None), Note::default());
    }

    #[test]
    fn what_makes_no_sense_says_nothing() {
        for text in ["of 3f2a", "drift yesterday", "failures many", "over x", "ended", "17", "  ", "own 1"] {
            assert_eq!(of(text), Note::default(), "{text:?}");
        }
        assert!(!of("ended 17").has_ended(&Inputs::new("3f2a")), "of what is not known");
    }

    #[test]
    fn the_newest_job_that_is_over_is_remembered_whatever_comes_after_it() {
        let mut note = of("job 18 of 3f2a ended 17 of 3f2a failures 1");
        note.give_up(None);
        assert_eq!(note.to_string(), "ended 17 of 3f2a failures 1 over 18");
        note.give_up(Some(20));
        assert_eq!(note.over(), Some(20));
        note.begin_anew();
        assert_eq!(note.to_string(), "over 20");
        assert_eq!(of("ended 17 of 3f2a").over(), Some(17));
    }
}
