//! One value of a request or an answer.

use fleet::Timestamp;

/// A value of a request or an answer, in no particular protocol.
///
/// Requests in a form are all text, so the readers below take text for numbers, truth values and times too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    /// Absent; an entry of a map with it is not written.
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Time(Timestamp),
    List(Vec<Data>),
    /// In the order in which it is written.
    Map(Vec<(String, Data)>),
}

/// A map of what is given, in order: `map([("instanceId", id.into()), ...])`.
pub(crate) fn map<const N: usize>(entries: [(&str, Data); N]) -> Data {
    Data::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

static NULL: Data = Data::Null;

impl Data {
    /// A list of what an iterator gives.
    pub fn list(items: impl IntoIterator<Item = impl Into<Data>>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
    /// The entry of a map; `Null` where there is none.
    pub fn get(&self, name: &str) -> &Data {
        match self {
            Self::Map(entries) => entries.iter().find(|(n, _)| n == name).map_or(&NULL, |(_, value)| value),
            _ => &NULL,
        }
    }
    /// The items of a list; none where it is no list.
    pub fn items(&self) -> &[Data] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }
    /// The entries of a map; none where it is no map.
    pub fn entries(&self) -> &[(String, Data)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
    /// The texts of a list of texts; what is no text is left out.
    pub fn texts(&self) -> Vec<&str> {
        self.items().iter().filter_map(Data::as_str).collect()
    }
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
    pub fn as_u32(&self) -> Option<u32> {
        self.as_i64().and_then(|number| u32::try_from(number).ok())
    }
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "weights and metrics are small")]
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
        .filter(|number: &f64| number.is_finite())
    }
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }
    /// A time: as such, as RFC 3339, or as seconds since 1970 (as JSON has it).
    pub fn as_time(&self) -> Option<Timestamp> {
        match self {
            Self::Time(time) => Some(*time),
            Self::Int(seconds) => Some(Timestamp::from_secs(*seconds)),
            Self::Float(seconds) => from_epoch_seconds(*seconds),
            Self::Text(text) => Timestamp::parse(text).ok(),
            _ => None,
        }
    }
}

/// A time from seconds since 1970, to the millisecond; `None` beyond what a timestamp holds.
pub(super) fn from_epoch_seconds(seconds: f64) -> Option<Timestamp> {
    let millis = (seconds * 1000.0).round();
    // 2^53: beyond it a float no longer holds every integer, and no service means such a time.
    #[expect(clippy::cast_possible_truncation, reason = "checked to be an integer in range")]
    (millis.is_finite() && millis.abs() < 9.0e15).then(|| Timestamp::from_millis(millis as i64))
}

/// Seconds since 1970, as JSON and CBOR write a time.
pub(super) fn epoch_seconds(time: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of any real date fit a float's 53 bits")]
    let millis = time.millis() as f64;
    millis / 1000.0
}

impl From<bool> for Data {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}
impl From<i64> for Data {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}
impl From<u32> for Data {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}
impl From<usize> for Data {
    fn from(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
impl From<f64> for Data {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}
impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<Timestamp> for Data {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}
impl<T: Into<Data>> From<Option<T>> for Data {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_texts_are_read_as_what_they_mean() {
        let form = map([
            ("n", "12".into()),
            ("w", "2.5".into()),
            ("t", "True".into()),
            ("at", "2026-03-01T10:00:00.5Z".into()),
        ]);
        assert_eq!(form.get("n").as_i64(), Some(12));
        assert_eq!(form.get("w").as_f64(), Some(2.5));
        assert_eq!(form.get("t").as_bool(), Some(true));
        assert_eq!(form.get("at").as_time().map(Timestamp::millis), Some(1_772_359_200_500));
        assert_eq!(form.get("absent"), &Data::Null);
        for odd in ["NaN", "inf", "", "1e999", "2.5x"] {
            assert_eq!(Data::from(odd).as_f64(), None, "{odd}");
        }
    }

    #[test]
    fn epoch_seconds_keep_their_milliseconds_and_refuse_nonsense() {
        let time = Timestamp::from_millis(1_772_359_200_123);
        assert_eq!(from_epoch_seconds(epoch_seconds(time)), Some(time));
        assert_eq!(from_epoch_seconds(f64::NAN), None);
        assert_eq!(from_epoch_seconds(1e300), None);
    }
}
