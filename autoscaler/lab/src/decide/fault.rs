//! What is wrong with a line, and what would be right.

use super::{DEFAULT_FLEET, LONGEST_LINE, VERSION};
use ::fleet::Timestamp;

/// Texts of the input are quoted up to so many characters.
const QUOTED: usize = 200;

/// Why a line cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    /// Longer than lines may be.
    #[error("the line is longer than {LONGEST_LINE} bytes; it was skipped")]
    TooLong,
    /// Not the JSON that is expected.
    #[error("{what} (column {column}{})", after(near))]
    Json { what: String, column: usize, near: String },
    /// Of a format that is not known.
    #[error("v is {v}; this is version {VERSION}")]
    Version { v: u32 },
    /// No policy for it.
    #[error(
        "no policy for fleet {name:?}; there are {}, and one named {DEFAULT_FLEET:?} would stand for all others",
        listed(known)
    )]
    UnknownFleet { name: String, known: Vec<String> },
    /// More fleets than are remembered.
    #[error("more than {most} fleets in one stream")]
    TooManyFleets { most: usize },
    /// Time runs forward.
    #[error(
        "t lies {} s before the last observation of this fleet, at {}; time goes forward, and a stream that begins \
         anew needs another fleet name",
        seconds(*last, *now),
        seconds(*last, Timestamp::EPOCH)
    )]
    Backwards { now: Timestamp, last: Timestamp },
    /// A number that cannot be.
    #[error("{path} is {value}; {right}")]
    Number { path: String, value: f64, right: &'static str },
    /// A text that cannot be.
    #[error("{path} is {value:?}; {right}")]
    Text { path: String, value: String, right: &'static str },
    /// The same twice.
    #[error("{path} is {value} again; each may stand in a line once")]
    Twice { path: String, value: String },
}

impl Fault {
    /// What serde says of a line, with the place in it.
    pub fn json(text: &[u8], error: &serde_json::Error) -> Self {
        let said = error.to_string();
        // "... at line 1 column 7": the stream's own line number stands beside it, and this one would mislead.
        let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
        Self::in_line(text, what, error.column())
    }

    /// An observation is an object: serde alone would take a list for one.
    pub fn unless_object(text: &[u8]) -> Result<(), Self> {
        match text.iter().position(|byte| !byte.is_ascii_whitespace()) {
            None => Err(Self::in_line(text, "an empty line, not an observation", 0)),
            Some(at) if matches!(text[at], b'[' | b'"' | b'0'..=b'9' | b'-') => {
                Err(Self::in_line(text, "an observation is an object", at + 1))
            }
            Some(_) => Ok(()),
        }
    }

    fn in_line(text: &[u8], what: &str, column: usize) -> Self {
        let from = column.saturating_sub(25).min(text.len());
        let around = text.get(from..column.min(text.len())).unwrap_or_default();
        Self::Json { what: what.to_owned(), column, near: String::from_utf8_lossy(around).into_owned() }
    }

    /// The fault in words, of bounded length whatever the line held.
    pub fn text(&self) -> String {
        let text = self.to_string();
        match text.char_indices().nth(3 * QUOTED) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

/// A text of the input, as far as it is quoted.
pub(super) fn quoted(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

fn after(text: &str) -> String {
    if text.trim().is_empty() { String::new() } else { format!(", after {text:?}") }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    match names.len() {
        0 => return "none".to_owned(),
        count if count > SHOWN => shown.push(format!("{} more", count - SHOWN)),
        _ => {}
    }
    shown.join(", ")
}

/// The seconds from one instant to another, to the millisecond.
fn seconds(to: Timestamp, from: Timestamp) -> String {
    let millis = to.millis().saturating_sub(from.millis());
    let text = format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
