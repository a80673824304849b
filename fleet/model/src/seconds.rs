//! How durations look in JSON: a number of seconds, `2.5`.
//!
//! For `#[serde(with = "fleet::seconds")]` and, on an `Option`, `#[serde(with = "fleet::seconds::optional")]`.
//! Binary formats keep serde's own exact form.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::time::Duration;

/// Writes a duration.
pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() { to.serialize_f64(duration.as_secs_f64()) } else { duration.serialize(to) }
}

/// Reads a duration. Fails on numbers that are negative, not finite, or beyond what a duration can hold.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    if from.is_human_readable() {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(de::Error::custom)
    } else {
        Duration::deserialize(from)
    }
}

/// The same for durations that may be missing.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    #[derive(Serialize, Deserialize)]
    struct Seconds(#[serde(with = "super")] Duration);

    /// Writes a duration, or that there is none.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        duration.map(Seconds).serialize(to)
    }

    /// Reads a duration, or that there is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Seconds>::deserialize(from)?.map(|Seconds(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use std::time::Duration;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Waits {
        #[serde(with = "super")]
        long: Duration,
        #[serde(with = "super::optional")]
        perhaps: Option<Duration>,
    }

    #[test]
    fn json_shows_seconds_and_reads_them_again() {
        for (waits, text) in [
            (Waits { long: Duration::from_millis(2500), perhaps: None }, r#"{"long":2.5,"perhaps":null}"#),
            (
                Waits { long: Duration::ZERO, perhaps: Some(Duration::from_secs(90)) },
                r#"{"long":0.0,"perhaps":90.0}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&waits).expect("it is plain data"), text);
            assert_eq!(serde_json::from_str::<Waits>(text).expect("it was written by us"), waits);
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for bad in ["-1", "1e300", "\"2m\""] {
            let text = format!(r#"{{"long":{bad},"perhaps":null}}"#);
            assert!(serde_json::from_str::<Waits>(&text).is_err(), "{bad}");
        }
    }
}
