//! Records as bytes: postcard, which is compact and has no field names. Its shape is the format's version's.

use crate::JournalError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A record as bytes.
pub fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, JournalError> {
    postcard::to_stdvec(record)
        .map_err(|error| JournalError::Corrupt { action: "encode a record", what: error.to_string() })
}

/// Bytes as a record; every byte must belong to it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JournalError> {
    let damaged = |what: String| JournalError::Corrupt { action: "decode a record", what };
    let (record, rest) = postcard::take_from_bytes(bytes).map_err(|error| damaged(error.to_string()))?;
    if rest.is_empty() { Ok(record) } else { Err(damaged(format!("{} bytes too many", rest.len()))) }
}
