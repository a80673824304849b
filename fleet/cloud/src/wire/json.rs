//! AWS JSON 1.0 and 1.1.

use super::data::epoch_seconds;
use super::{AwsError, Data};
use serde_json::{Map, Number, Value};

/// Reads a JSON body; an empty one is an empty request.
pub(crate) fn read(body: &[u8]) -> Result<Data, AwsError> {
    if body.is_empty() {
        return Ok(Data::Map(Vec::new()));
    }
    serde_json::from_slice(body).map(from_value).map_err(|error| {
        AwsError::new("SerializationException", format!("could not parse the request: {error}"))
    })
}

/// Reads a JSON value.
pub(crate) fn from_value(value: Value) -> Data {
    match value {
        Value::Null => Data::Null,
        Value::Bool(truth) => Data::Bool(truth),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| number.as_f64().map_or(Data::Null, Data::Float), Data::Int)
        }
        Value::String(text) => Data::Text(text),
        Value::Array(items) => Data::List(items.into_iter().map(from_value).collect()),
        Value::Object(entries) => {
            Data::Map(entries.into_iter().map(|(name, value)| (name, from_value(value))).collect())
        }
    }
}

/// A value as JSON: times as seconds since 1970, absent entries left out.
pub(crate) fn to_value(value: &Data) -> Value {
    match value {
        Data::Null => Value::Null,
        Data::Bool(truth) => Value::Bool(*truth),
        Data::Int(number) => Value::from(*number),
        Data::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        Data::Text(text) => Value::String(text.clone()),
        Data::Time(time) => Number::from_f64(epoch_seconds(*time)).map_or(Value::Null, Value::Number),
        Data::List(items) => Value::Array(items.iter().map(to_value).collect()),
        Data::Map(entries) => Value::Object(
            entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), to_value(value)))
                .collect::<Map<_, _>>(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::map;
    use super::*;
    use fleet::Timestamp;

    #[test]
    fn json_reads_back_what_it_wrote() {
        let value = map([
            ("Name", "/muster/a".into()),
            ("Version", 3i64.into()),
            ("Ratio", 0.5.into()),
            ("Names", Data::list(["a", "b"])),
        ]);
        let text = to_value(&value).to_string();
        let mut read_back = read(text.as_bytes()).expect("JSON");
        if let Data::Map(entries) = &mut read_back {
            entries.sort_by_key(|(name, _)| value.entries().iter().position(|(n, _)| n == name));
        }
        assert_eq!(read_back, value);
        assert_eq!(to_value(&Timestamp::from_millis(1500).into()).to_string(), "1.5");
        assert_eq!(to_value(&map([("absent", Data::Null)])).to_string(), "{}");
    }

    #[test]
    fn a_body_that_is_not_json_is_refused() {
        for body in ["{", "[1,", "nul", "\u{0}"] {
            assert_eq!(read(body.as_bytes()).expect_err("refused").code, "SerializationException");
        }
        // Nested a hundred thousand deep: refused, not a stack overflow.
        assert!(read("[".repeat(100_000).as_bytes()).is_err());
    }
}
