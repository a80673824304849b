//! Channels: which image is canary, which is stable, and how that came to be.
//!
//! A channel is a journal of numbered entries, each a parameter of its own, and one parameter that says the image of the newest
//! entry, for whoever launches. SSM has no compare-and-set, but of any number of callers it lets one make a parameter: who makes
//! entry N+1 has won against all who saw N. The parameter that launches read follows; a crash before it does is taken up by
//! whoever comes next. Why so: docs/decisions/0062.

mod act;
mod journal;

pub use act::{Changed, ChannelError, Seen, all, change, look};
pub use journal::{Change, Entry, Journal, KEPT, Refusal, Step, Wanted, plan};

use std::fmt;

/// The name of a channel, and where its parameters are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel {
    prefix: String,
    name: String,
}

/// Why something is no name of a channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no channel: a small letter, then at most 30 small letters, digits and hyphens")]
pub struct NoChannel(String);

impl Channel {
    /// * `prefix`: the path of all channels, such as `/muster/images`; a slash at its end does not count.
    /// * `name`: `canary`, `stable`, …
    pub fn new(prefix: &str, name: &str) -> Result<Self, NoChannel> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let begins = name.chars().next().is_some_and(|c| c.is_ascii_lowercase());
        if !begins || name.len() > 31 || !name.chars().all(legal) {
            return Err(NoChannel(name.to_owned()));
        }
        Ok(Self { prefix: prefix.trim_end_matches('/').to_owned(), name: name.to_owned() })
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The parameter that says its image, for whoever launches.
    pub fn parameter(&self) -> String {
        format!("{}/{}", self.prefix, self.name)
    }
    /// The path of its journal's entries.
    pub fn journal(&self) -> String {
        format!("{}/{}/journal", self.prefix, self.name)
    }
    /// The parameter of an entry.
    pub fn entry(&self, generation: u64) -> String {
        format!("{}/{generation:08}", self.journal())
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
