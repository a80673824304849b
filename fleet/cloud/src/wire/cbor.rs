//! Smithy RPC v2 CBOR.

use super::data::{epoch_seconds, from_epoch_seconds};
use super::{AwsError, Data};
use ciborium::Value;

/// CBOR's tag of a time in seconds since 1970.
const EPOCH_TAG: u64 = 1;
/// How deep a body may nest.
const MAX_DEPTH: usize = 32;

/// Reads a CBOR body; an empty one is an empty request.
pub(crate) fn read(body: &[u8]) -> Result<Data, AwsError> {
    if body.is_empty() {
        return Ok(Data::Map(Vec::new()));
    }
    let refused =
        |what: &str| AwsError::new("SerializationException", format!("could not parse the request: {what}"));
    let value: Value = ciborium::de::from_reader_with_recursion_limit(body, MAX_DEPTH)
        .map_err(|error| refused(&error.to_string()))?;
    from_value(value).ok_or_else(|| refused("a value that this protocol does not have"))
}

fn from_value(value: Value) -> Option<Data> {
    Some(match value {
        Value::Null => Data::Null,
        Value::Bool(truth) => Data::Bool(truth),
        Value::Integer(number) => Data::Int(i64::try_from(number).ok()?),
        Value::Float(number) => Data::Float(number),
        Value::Text(text) => Data::Text(text),
        Value::Tag(EPOCH_TAG, inner) => Data::Time(match *inner {
            Value::Integer(seconds) => fleet::Timestamp::from_secs(i64::try_from(seconds).ok()?),
            Value::Float(seconds) => from_epoch_seconds(seconds)?,
            _ => return None,
        }),
        Value::Array(items) => Data::List(items.into_iter().map(from_value).collect::<Option<_>>()?),
        Value::Map(entries) => Data::Map(
            entries
                .into_iter()
                .map(|(name, value)| Some((name.into_text().ok()?, from_value(value)?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

/// A value as CBOR: times tagged, absent entries left out.
pub(crate) fn write(value: &Data) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to a vector cannot fail.
    let _ = ciborium::into_writer(&to_value(value), &mut out);
    out
}

fn to_value(value: &Data) -> Value {
    match value {
        Data::Null => Value::Null,
        Data::Bool(truth) => Value::Bool(*truth),
        Data::Int(number) => Value::from(*number),
        Data::Float(number) => Value::Float(*number),
        Data::Text(text) => Value::Text(text.clone()),
        Data::Time(time) => Value::Tag(EPOCH_TAG, Box::new(Value::Float(epoch_seconds(*time)))),
        Data::List(items) => Value::Array(items.iter().map(to_value).collect()),
        Data::Map(entries) => Value::Map(
            entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (Value::Text(name.clone()), to_value(value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::map;
    use super::*;
    use fleet::Timestamp;

    #[test]
    fn cbor_reads_back_what_it_wrote() {
        let value = map([
            ("Id", "m1".into()),
            ("StartTime", Timestamp::from_millis(1_772_359_200_500).into()),
            ("Values", Data::list([0.25, 75.0])),
            ("Period", 60i64.into()),
            ("ReturnData", true.into()),
        ]);
        assert_eq!(read(&write(&value)), Ok(value));
    }

    #[test]
    fn maps_of_indefinite_length_are_read_as_the_sdk_sends_them() {
        // {_ "StartTime": 1(1772359200), "ScanBy": "TimestampAscending"}
        let mut body = vec![0xbf, 0x69];
        body.extend_from_slice(b"StartTime");
        body.extend_from_slice(&[0xc1, 0x1a, 0x69, 0xa4, 0x10, 0xe0, 0x66]);
        body.extend_from_slice(b"ScanBy");
        body.push(0x72);
        body.extend_from_slice(b"TimestampAscending");
        body.push(0xff);
        let request = read(&body).expect("CBOR");
        assert_eq!(request.get("StartTime").as_time(), Some(Timestamp::from_secs(0x69a4_10e0)));
        assert_eq!(request.get("ScanBy").as_str(), Some("TimestampAscending"));
    }

    #[test]
    fn a_body_that_is_not_cbor_is_refused() {
        let deep = vec![0x81; 100_000];
        for body in [&[0xff][..], &[0xbf, 0x61], &[0x5f], &[0xa1, 0x01, 0x02], &deep] {
            assert_eq!(read(body).expect_err("refused").code, "SerializationException");
        }
    }
}
