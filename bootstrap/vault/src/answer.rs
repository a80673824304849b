//! What Vault answers, read leniently: fields that are missing or new do no harm.

use bootstrap_core::Secret;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The most of the server's words that is kept.
const MOST_WORDS: usize = 512;

/// The envelope of every answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Envelope {
    #[serde(deserialize_with = "or_default")]
    pub(crate) lease_id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) lease_duration: u64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) renewable: bool,
    pub(crate) data: Option<Field>,
    pub(crate) auth: Option<Auth>,
}

/// What a login or a renewal brings.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Auth {
    pub(crate) client_token: Secret,
    /// In seconds; 0: it never ends.
    #[serde(deserialize_with = "or_default")]
    pub(crate) lease_duration: u64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) renewable: bool,
}

/// `null` is as good as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads an answer. The error tells the place, never what stands there.
pub(crate) fn envelope(body: &[u8]) -> Result<Envelope, String> {
    if body.is_empty() {
        // 204, to a revocation.
        return Ok(Envelope::default());
    }
    serde_json::from_slice(body).map_err(|error| what_is_wrong(&error))
}

/// serde's own words quote the text.
fn what_is_wrong(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "another shape than expected",
        serde_json::error::Category::Eof => "it ends too early",
        _ => "no JSON",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

/// What Vault says of a refusal, in one line: its errors, or warnings where there are none.
pub(crate) fn words(body: &[u8], strike: impl Fn(&str) -> String) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        #[serde(deserialize_with = "or_default")]
        errors: Vec<String>,
        #[serde(deserialize_with = "or_default")]
        warnings: Vec<String>,
    }
    let Ok(said) = serde_json::from_slice::<Said>(body) else { return String::new() };
    let all = if said.errors.is_empty() { said.warnings } else { said.errors };
    // `1 error occurred:\n\t* permission denied\n\n` is a list of one.
    let line = all.join("; ").split_whitespace().collect::<Vec<_>>().join(" ");
    // Before it is cut: of a secret that lies across the end a piece would stay.
    strike(&line).chars().take(MOST_WORDS).collect()
}

/// A value in a secret. Shows nothing of itself.
#[derive(Clone, PartialEq)]
pub(crate) enum Field {
    Null,
    Flag(bool),
    Number(serde_json::Number),
    Text(Secret),
    List(Vec<Self>),
    Map(Fields),
}

/// A secret's fields.
pub(crate) type Fields = Arc<BTreeMap<String, Field>>;

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Field {
    pub(crate) fn as_text(&self) -> Option<&Secret> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
    pub(crate) fn as_map(&self) -> Option<&Fields> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }
    fn get(&self, name: &str) -> Option<&Self> {
        self.as_map()?.get(name)
    }
    /// A text in a map.
    pub(crate) fn text(&self, name: &str) -> Option<&Secret> {
        self.get(name)?.as_text()
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyField)
    }
}

struct AnyField;

impl<'de> Visitor<'de> for AnyField {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Field, E> {
        Ok(Field::Null)
    }
    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Field, E> {
        Ok(Field::Flag(flag))
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Field, E> {
        Ok(Field::Number(number.into()))
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Field, E> {
        Ok(Field::Number(number.into()))
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Field, E> {
        Ok(serde_json::Number::from_f64(number).map_or(Field::Null, Field::Number))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(Secret::new(text)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Field::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Field, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry::<String, Field>()? {
            map.insert(name, value);
        }
        Ok(Field::Map(Arc::new(map)))
    }
}

/// The fields of a secret as templates see them: those of a version, where it is one of KV version 2.
///
/// `None`: there are none, as of a version that was deleted.
pub(crate) fn fields_of(data: Field) -> Option<Fields> {
    let Field::Map(outer) = data else { return None };
    let versioned =
        outer.len() == 2 && outer.get("metadata").is_some_and(|metadata| metadata.get("version").is_some());
    match outer.get("data") {
        Some(inner) if versioned => inner.as_map().cloned(),
        _ => Some(outer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_shows_nothing() {
        let body = br#"{"request_id":"1","lease_id":"","renewable":false,"lease_duration":0,"auth":null,"warnings":null,
            "data":{"data":{"user":"web","port":5432,"tls":true,"of":{"a":["planted"]},"none":null},
            "metadata":{"version":3,"created_time":"2026-01-01T00:00:00Z","custom_metadata":null}}}"#;
        let envelope = envelope(body).expect("an answer");
        assert!(!format!("{envelope:?}").contains("planted"));
        let fields = fields_of(envelope.data.expect("data")).expect("fields");
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["none", "of", "port", "tls", "user"]);
        assert_eq!(fields["user"].as_text().map(Secret::expose), Some("web"));
    }

    #[test]
    fn a_deleted_version_has_no_fields_and_a_plain_secret_has_its_own() {
        let read = |body: &str| fields_of(envelope(body.as_bytes()).expect("an answer").data.expect("data"));
        assert_eq!(read(r#"{"data":{"data":null,"metadata":{"version":1,"deletion_time":"x"}}}"#), None);
        let plain = read(r#"{"data":{"username":"u","data":"d"}}"#).expect("fields");
        assert_eq!(plain.len(), 2);
    }

    #[test]
    fn errors_are_one_line_and_what_does_not_parse_is_not_quoted() {
        let denied = br#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
        assert_eq!(words(denied, str::to_owned), "1 error occurred: * permission denied");
        assert_eq!(words(br#"{"errors":[],"warnings":["Invalid path"]}"#, str::to_owned), "Invalid path");
        assert_eq!(words(b"<html>", str::to_owned), "");
        let across = format!("{{\"errors\":[\"{}hvs.planted\"]}}", "x".repeat(MOST_WORDS - 4));
        let secret = Secret::new("hvs.planted");
        let said = words(across.as_bytes(), |text| secret.strike_from(text));
        assert!(said.ends_with("x(sec"), "{said}");
        let error = envelope(br#"{"auth":{"client_token":17,"x":"planted"}}"#).expect_err("no token");
        assert!(error.starts_with("another shape") && !error.contains("17"), "{error}");
    }
}
