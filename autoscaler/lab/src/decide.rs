//! The external drive: one observation a line in, one decision a line out.
//!
//! For those who have a simulator of their own and want to know what muster would do in it. What decides is what the
//! daemon runs: [`autoscaler_core::plan`] and the independent checker, with memory and learning per fleet. There is
//! no clock but the one in the stream. The format, and what a simulator does with the answers: `docs/decide.md`.

mod fault;
mod fleet;
mod lines;
mod wire;

use self::fault::Fault;
use self::fleet::Driver;
use self::lines::{Line, Lines};
use self::wire::{Observation, Refusal};
use ::fleet::Timestamp;
use autoscaler_policy::FleetPolicy;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

/// The version of the format: what an observation's `v` may say.
pub const VERSION: u32 = 1;

/// The longest line that is read; what is longer is refused and skipped. Some 8,000 instances fit.
pub const LONGEST_LINE: usize = 1 << 20;

/// The name of the policy that stands for every fleet without one of its own name.
pub const DEFAULT_FLEET: &str = "default";

/// Fleets of one stream at most: each is remembered to the end, and a default policy lets a stream name any number.
const MOST_FLEETS: usize = 4096;

/// How a stream went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Driven {
    /// Lines read; each was answered.
    pub lines: u64,
    /// Of these, lines that were answered with an error.
    pub refused: u64,
    /// Fleets that were met.
    pub fleets: usize,
}

/// Why a stream could not be driven to its end.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The input broke off.
    #[error("read line {line}")]
    Read {
        /// The line, from 1.
        line: u64,
        /// What happened.
        source: io::Error,
    },
    /// Nobody takes the answers.
    #[error("answer line {line}")]
    Write {
        /// The line, from 1.
        line: u64,
        /// What happened.
        source: io::Error,
    },
}

/// Answers each line of observation with a line of decision, until the input ends.
///
/// A line that cannot be used is answered with its number and what would have been right, changes nothing, and the
/// stream goes on.
///
/// * `policies`: by fleet name; one named [`DEFAULT_FLEET`] stands for all others.
/// * `output`: flushed after every line, so that a simulator may wait for its answer.
/// * returns: once the input has ended. Fails only where reading or writing does.
///
/// Deterministic: the same lines give the same answers. Memory grows with the fleets, not with the lines.
pub fn drive(
    policies: &[FleetPolicy],
    input: impl BufRead,
    mut output: impl Write,
) -> Result<Driven, DriveError> {
    let mut stream = Stream { policies, drivers: BTreeMap::new() };
    let mut lines = Lines::new(input, LONGEST_LINE);
    let mut driven = Driven::default();
    let mut answer = Vec::with_capacity(1024);
    loop {
        let line = driven.lines + 1;
        let read = lines.next().map_err(|source| DriveError::Read { line, source })?;
        let decided = match read {
            Line::End => break,
            Line::TooLong => Err(Fault::TooLong),
            Line::Whole(text) => stream.answer(text, &mut answer),
        };
        if let Err(fault) = decided {
            driven.refused += 1;
            write_line(&Refusal { line, error: &fault.text() }, &mut answer);
        }
        driven.lines = line;
        output
            .write_all(&answer)
            .and_then(|()| output.flush())
            .map_err(|source| DriveError::Write { line, source })?;
    }
    driven.fleets = stream.drivers.len();
    Ok(driven)
}

/// The fleets of a stream.
struct Stream<'p> {
    policies: &'p [FleetPolicy],
    drivers: BTreeMap<String, Driver<'p>>,
}

impl<'p> Stream<'p> {
    /// Decides upon one line, and writes the decision into `answer`.
    fn answer(&mut self, text: &[u8], answer: &mut Vec<u8>) -> Result<(), Fault> {
        Fault::unless_object(text)?;
        let seen: Observation<'_> =
            serde_json::from_slice(text).map_err(|error| Fault::json(text, &error))?;
        let now = seen.check()?;
        if let Some(driver) = self.drivers.get_mut(&*seen.fleet) {
            write_line(&driver.decide(&seen, now)?, answer);
            return Ok(());
        }
        let mut driver = self.meet(&seen, now)?;
        write_line(&driver.decide(&seen, now)?, answer);
        self.drivers.insert(seen.fleet.into_owned(), driver);
        Ok(())
    }

    /// A fleet that the stream names for the first time.
    fn meet(&self, seen: &Observation<'_>, now: Timestamp) -> Result<Driver<'p>, Fault> {
        let named = |name: &str| self.policies.iter().find(|policy| policy.name.as_str() == name);
        let policy =
            named(&seen.fleet).or_else(|| named(DEFAULT_FLEET)).ok_or_else(|| Fault::UnknownFleet {
                name: seen.fleet.clone().into_owned(),
                known: self.policies.iter().map(|policy| policy.name.to_string()).collect(),
            })?;
        if self.drivers.len() >= MOST_FLEETS {
            return Err(Fault::TooManyFleets { most: MOST_FLEETS });
        }
        Ok(Driver::new(policy, &seen.fleet, now))
    }
}

/// Puts one line of JSON in place of what the buffer holds.
fn write_line(value: &impl Serialize, line: &mut Vec<u8>) {
    line.clear();
    // Plain structs of numbers and texts into memory: nothing in it can fail.
    let _ = serde_json::to_writer(&mut *line, value);
    line.push(b'\n');
}
