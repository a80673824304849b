//! The engine's entries as bytes: postcard, which is compact and has no field names. A change of the shape of any
//! record is a change of the file's format.

use crate::{Entry, JournalError, Stored};
use autoscaler_engine as engine;
use fleet::FleetName;

/// What is written of an engine's entry: its fleet and time are columns of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    stream: String,
    at: fleet::Timestamp,
    checkpoint: bool,
    bytes: Vec<u8>,
}

impl Encoded {
    /// An entry as bytes.
    pub fn of(entry: &engine::Entry) -> Result<Self, JournalError> {
        let bytes = postcard::to_stdvec(&entry.records)
            .map_err(|error| JournalError::Unencodable { what: error.to_string() })?;
        let stream = entry.fleet.as_str().to_owned();
        Ok(Self { stream, at: entry.at, checkpoint: entry.is_checkpoint(), bytes })
    }

    /// As the journal takes it.
    pub fn entry(&self) -> Entry<'_> {
        let Self { stream, at, checkpoint, bytes } = self;
        Entry { stream, at: *at, checkpoint: *checkpoint, bytes }
    }
}

/// Bytes as an engine's entry; every byte must belong to it.
pub fn decode(stream: &str, stored: &Stored) -> Result<engine::Entry, JournalError> {
    let damaged = |what: String| {
        let what = format!("record {} of {stream}: {what}", stored.seq);
        JournalError::Corrupt { action: "decode a record", what }
    };
    let (records, rest) =
        postcard::take_from_bytes(&stored.bytes).map_err(|error| damaged(error.to_string()))?;
    if !rest.is_empty() {
        return Err(damaged(format!("{} bytes too many", rest.len())));
    }
    Ok(engine::Entry { fleet: FleetName::new(stream), at: stored.at, records })
}
