//! What bodies are made of: texts, ids and times in AWS's various spellings.

use crate::{MAX_BODY_BYTES, Unread};
use fleet::{FleetId, InstanceId, InstanceState, Timestamp};
use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::Value;

/// As much of a text of strangers as an error shows.
const SHOWN: usize = 64;

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Reads JSON that is not too large. Depth is bounded by the reader.
pub(crate) fn json(body: &str) -> Result<Value, Unread> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Unread::TooLarge { bytes: body.len() });
    }
    serde_json::from_str(body).map_err(|error| Unread::NotJson { message: error.to_string() })
}

/// A text of an object; missing, not a text or empty: nothing.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str().filter(|text| !text.is_empty())
}

/// `i-` and digits of EC2's, which have been 8 and are 17.
pub(crate) fn instance(field: &'static str, id: Option<&str>) -> Result<InstanceId, Unread> {
    let id = id.ok_or(Unread::Missing { field })?;
    let digits = id.strip_prefix("i-").unwrap_or_default();
    if (1..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(InstanceId::new(id));
    }
    Err(Unread::Odd { field, value: shown(id) })
}

/// A fleet's id is nowhere but at the end of its ARN: `…:spot-fleet-request/sfr-…`, `…:fleet/fleet-…`.
pub(crate) fn fleet(resources: &Value) -> Result<FleetId, Unread> {
    const FIELD: &str = "resources";
    let mut named = resources.as_array().into_iter().flatten().filter_map(Value::as_str).peekable();
    let first = *named.peek().ok_or(Unread::Missing { field: FIELD })?;
    let legal = |id: &&str| {
        let prefixed = id.starts_with("sfr-") || id.starts_with("fleet-");
        let digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        prefixed && id.len() <= 64 && id.bytes().all(digit)
    };
    let id = named.map(|arn| arn.rsplit('/').next().unwrap_or(arn)).find(legal);
    id.map(FleetId::new).ok_or_else(|| Unread::Odd { field: FIELD, value: shown(first) })
}

/// EC2's word for a state.
pub(crate) fn state(word: &str) -> Option<InstanceState> {
    Some(match word {
        "pending" => InstanceState::Pending,
        "running" => InstanceState::Running,
        "shutting-down" => InstanceState::ShuttingDown,
        "terminated" => InstanceState::Terminated,
        "stopping" => InstanceState::Stopping,
        "stopped" => InstanceState::Stopped,
        _ => return None,
    })
}

/// A time in one of AWS's forms: `2026-03-01T08:00:00Z`, `Sun, 01 Mar 2026 08:00:00 GMT`,
/// `1 Mar 2026 08:00:00 GMT`.
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    // A day of the week that does not fit the date stands in AWS's own sample.
    const DATES: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    let text = text.trim();
    Timestamp::parse(text).ok().or_else(|| {
        let time = DATES.parse_timestamp(text).ok()?;
        Some(Timestamp::from_millis(time.as_millisecond()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_all_of_awss_forms() {
        let expected = Timestamp::parse("2016-06-05T15:10:09Z").ok();
        for text in [
            "2016-06-05T15:10:09Z",
            "2016-06-05T17:10:09+02:00",
            "Sun, 05 Jun 2016 15:10:09 GMT",
            "Sat, 05 Jun 2016 15:10:09 GMT",
            "5 Jun 2016 15:10:09 GMT",
            " 05 Jun 2016 15:10:09 +0000 ",
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
        for text in ["", "soon", "2016-06-05", "99 Jun 2016 15:10:09 GMT", "-1", "1465139409"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_an_id_is_none() {
        for id in ["i-0b662ef9931388ba0", "i-abcd1111"] {
            assert_eq!(instance("x", Some(id)), Ok(id.into()));
        }
        for id in ["", "i-", "vol-0abc", "i-0abc\n", "i-0abc 1", "arn:aws:ec2:::instance/i-0abc"] {
            assert!(instance("x", Some(id)).is_err(), "{id:?}");
        }
        let id = format!("i-{}", "0".repeat(33));
        assert!(instance("x", Some(&id)).is_err());
    }

    #[test]
    fn a_fleets_id_ends_its_arn() {
        let of = |arn: &str| fleet(&Value::from(vec![arn]));
        let spot =
            "arn:aws:ec2:us-east-1:123456789012:spot-fleet-request/sfr-bdd37bf8-cbae-4da5-b2ef-46d8ba5aa52f";
        assert_eq!(of(spot), Ok("sfr-bdd37bf8-cbae-4da5-b2ef-46d8ba5aa52f".into()));
        assert_eq!(of("arn:aws-cn:ec2:cn-north-1:1:fleet/fleet-1"), Ok("fleet-1".into()));
        assert!(of("arn:aws:ec2:us-east-1:1:instance/i-0abc").is_err());
        assert_eq!(fleet(&Value::Null), Err(Unread::Missing { field: "resources" }));
    }
}
