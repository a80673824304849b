//! Tables of fields: the one place that says what a block may hold.
//!
//! A table drives decoding, the reference documentation and the list of effective values, so that the three
//! cannot disagree. Defaults are not in it: they are what the value holds before the file is read.

use crate::decode::Nested;
use std::fmt::Write as _;
use std::time::Duration;

/// What a block that is read into a `T` may hold.
pub struct Table<T: 'static> {
    /// Its attributes, in the order of the documentation.
    pub fields: &'static [Field<T>],
    /// Its blocks, likewise.
    pub blocks: &'static [&'static dyn Nested<T>],
}

/// An attribute.
pub struct Field<T: 'static> {
    pub(crate) name: &'static str,
    pub(crate) docs: &'static str,
    pub(crate) required: bool,
    pub(crate) unset: &'static str,
    pub(crate) why: Option<&'static str>,
    pub(crate) example: Option<&'static str>,
    pub(crate) live: bool,
    pub(crate) clear: Option<fn(&mut T)>,
    pub(crate) kind: Kind<T>,
}

/// Why a text is not what a field takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// A fact that fits after the value: "never comes".
    pub what: String,
    /// What would be right; empty where the field's own words say it.
    pub expected: String,
    /// How to get there.
    pub help: Option<String>,
    /// Whether it is the range that the value is beyond.
    pub(crate) beyond: bool,
}

impl Wrong {
    /// A fact that fits after the value, such as "is not a time zone".
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), expected: String::new(), help: None, beyond: false }
    }
    pub(crate) fn beyond(what: &str) -> Self {
        Self { beyond: true, ..Self::new(what) }
    }
    /// Says what would be right, where the field's own words do not.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }
    /// Says how to get there; nothing for `None`.
    #[must_use]
    pub fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }
}

/// The type of an attribute with the way to its value. `get` answers `None` where nothing is set.
pub(crate) enum Kind<T: 'static> {
    Flag {
        get: fn(&T) -> Option<bool>,
        set: fn(&mut T, bool),
    },
    Whole {
        range: (u32, u32),
        get: fn(&T) -> Option<u32>,
        set: fn(&mut T, u32),
    },
    Number {
        range: (f64, f64),
        get: fn(&T) -> Option<f64>,
        set: fn(&mut T, f64),
    },
    Share {
        range: (f64, f64),
        get: fn(&T) -> Option<f64>,
        set: fn(&mut T, f64),
    },
    Duration {
        range: (Duration, Duration),
        get: fn(&T) -> Option<Duration>,
        set: fn(&mut T, Duration),
    },
    Choice {
        of: &'static [&'static str],
        get: fn(&T) -> Option<&'static str>,
        set: fn(&mut T, &str),
    },
    Text {
        what: &'static str,
        get: fn(&T) -> Option<String>,
        set: fn(&mut T, &str) -> Result<(), Wrong>,
    },
    Texts {
        what: &'static str,
        get: fn(&T) -> Vec<String>,
        add: fn(&mut T, &str) -> Result<(), Wrong>,
    },
    TextMap {
        what: &'static str,
        get: fn(&T) -> Vec<(String, String)>,
        add: fn(&mut T, &str, &str) -> Result<(), Wrong>,
    },
    NumberMap {
        what: &'static str,
        range: (f64, f64),
        get: fn(&T) -> Vec<(String, f64)>,
        add: fn(&mut T, &str, f64) -> Result<(), Wrong>,
    },
}

impl<T> Field<T> {
    const fn of(name: &'static str, docs: &'static str, kind: Kind<T>) -> Self {
        Self {
            name,
            docs,
            required: false,
            unset: "",
            why: None,
            example: None,
            live: false,
            clear: None,
            kind,
        }
    }
    /// `true` or `false`.
    pub const fn flag(
        name: &'static str,
        docs: &'static str,
        get: fn(&T) -> Option<bool>,
        set: fn(&mut T, bool),
    ) -> Self {
        Self::of(name, docs, Kind::Flag { get, set })
    }
    /// A whole number, both ends of the range included.
    pub const fn whole(
        name: &'static str,
        docs: &'static str,
        range: (u32, u32),
        get: fn(&T) -> Option<u32>,
        set: fn(&mut T, u32),
    ) -> Self {
        Self::of(name, docs, Kind::Whole { range, get, set })
    }
    /// A number, both ends of the range included.
    pub const fn number(
        name: &'static str,
        docs: &'static str,
        range: (f64, f64),
        get: fn(&T) -> Option<f64>,
        set: fn(&mut T, f64),
    ) -> Self {
        Self::of(name, docs, Kind::Number { range, get, set })
    }
    /// A share of a whole, written as `"75%"`, in the program 0.75; both ends of the range included.
    pub const fn share(
        name: &'static str,
        docs: &'static str,
        range: (f64, f64),
        get: fn(&T) -> Option<f64>,
        set: fn(&mut T, f64),
    ) -> Self {
        Self::of(name, docs, Kind::Share { range, get, set })
    }
    /// A duration, written as `"1h30m"`; both ends of the range included.
    pub const fn duration(
        name: &'static str,
        docs: &'static str,
        range: (Duration, Duration),
        get: fn(&T) -> Option<Duration>,
        set: fn(&mut T, Duration),
    ) -> Self {
        Self::of(name, docs, Kind::Duration { range, get, set })
    }
    /// One of a few words; `set` is given one of them.
    pub const fn choice(
        name: &'static str,
        docs: &'static str,
        of: &'static [&'static str],
        get: fn(&T) -> Option<&'static str>,
        set: fn(&mut T, &str),
    ) -> Self {
        Self::of(name, docs, Kind::Choice { of, get, set })
    }
    /// A text; `what` completes "expected …", with an example.
    pub const fn text(
        name: &'static str,
        docs: &'static str,
        what: &'static str,
        get: fn(&T) -> Option<String>,
        set: fn(&mut T, &str) -> Result<(), Wrong>,
    ) -> Self {
        Self::of(name, docs, Kind::Text { what, get, set })
    }
    /// A list of texts, without duplicates; `what` completes "expected a list of …".
    pub const fn texts(
        name: &'static str,
        docs: &'static str,
        what: &'static str,
        get: fn(&T) -> Vec<String>,
        add: fn(&mut T, &str) -> Result<(), Wrong>,
    ) -> Self {
        Self::of(name, docs, Kind::Texts { what, get, add })
    }
    /// A map from texts to texts; `what` completes "expected a map from …".
    pub const fn text_map(
        name: &'static str,
        docs: &'static str,
        what: &'static str,
        get: fn(&T) -> Vec<(String, String)>,
        add: fn(&mut T, &str, &str) -> Result<(), Wrong>,
    ) -> Self {
        Self::of(name, docs, Kind::TextMap { what, get, add })
    }
    /// A map from texts to numbers of a range; `what` completes "expected a map from …".
    pub const fn number_map(
        name: &'static str,
        docs: &'static str,
        what: &'static str,
        range: (f64, f64),
        get: fn(&T) -> Vec<(String, f64)>,
        add: fn(&mut T, &str, f64) -> Result<(), Wrong>,
    ) -> Self {
        Self::of(name, docs, Kind::NumberMap { what, range, get, add })
    }

    /// The file must give it.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }
    /// What it means that nothing is set: "no limit".
    #[must_use]
    pub const fn unset(mut self, meaning: &'static str) -> Self {
        self.unset = meaning;
        self
    }
    /// Why it is limited as it is: shown with a value beyond the range.
    #[must_use]
    pub const fn why(mut self, reason: &'static str) -> Self {
        self.why = Some(reason);
        self
    }
    /// A value to show, as HCL, where there is no default.
    #[must_use]
    pub const fn example(mut self, value: &'static str) -> Self {
        self.example = Some(value);
        self
    }
    /// A value that an example file gives, though none is required.
    #[must_use]
    pub const fn live_example(mut self, value: &'static str) -> Self {
        self.live = true;
        self.example(value)
    }
    /// Empties a list or a map before a file's own is read into it: where several files are read into one value, one
    /// after the other, the last one that gives it says the whole of it.
    #[must_use]
    pub const fn replaces(mut self, clear: fn(&mut T)) -> Self {
        self.clear = Some(clear);
        self
    }
    /// The value as HCL would say it; `None` where nothing is set.
    pub(crate) fn shown(&self, value: &T) -> Option<String> {
        self.kind.shown(value)
    }
}

impl<T> Kind<T> {
    fn shown(&self, value: &T) -> Option<String> {
        match self {
            Self::Flag { get, .. } => get(value).map(|flag| flag.to_string()),
            Self::Whole { get, .. } => get(value).map(|number| number.to_string()),
            Self::Number { get, .. } => get(value).map(|number| number.to_string()),
            Self::Share { get, .. } => get(value).map(|share| quoted(&share_text(share))),
            Self::Duration { get, .. } => get(value).map(|duration| quoted(&duration_text(duration))),
            Self::Choice { get, .. } => get(value).map(quoted),
            Self::Text { get, .. } => get(value).map(|text| quoted(&text)),
            Self::Texts { get, .. } => {
                let items: Vec<String> = get(value).iter().map(|text| quoted(text)).collect();
                (!items.is_empty()).then(|| format!("[{}]", items.join(", ")))
            }
            Self::TextMap { get, .. } => {
                map_text(get(value).into_iter().map(|(key, text)| (key, quoted(&text))))
            }
            Self::NumberMap { get, .. } => {
                map_text(get(value).into_iter().map(|(key, number)| (key, number.to_string())))
            }
        }
    }

    /// The type in words: what completes "expected".
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Flag { .. } => "`true` or `false`".to_owned(),
            Self::Whole { range: (from, to), .. } => format!("a whole number from {from} to {to}"),
            Self::Number { range: (from, to), .. } => format!("a number from {from} to {to}"),
            Self::Share { range: (from, to), .. } => {
                format!("a share from \"{}\" to \"{}\"", share_text(*from), share_text(*to))
            }
            Self::Duration { range: (from, to), .. } => {
                format!("a duration from \"{}\" to \"{}\"", duration_text(*from), duration_text(*to))
            }
            Self::Choice { of, .. } => {
                let of: Vec<String> = of.iter().map(|word| format!("\"{word}\"")).collect();
                match of.split_last() {
                    Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
                    _ => of.concat(),
                }
            }
            Self::Text { what, .. } => (*what).to_owned(),
            Self::Texts { what, .. } => format!("a list of {what}"),
            Self::TextMap { what, .. } => format!("a map from {what}"),
            Self::NumberMap { what, range: (from, to), .. } => {
                format!("a map from {what}, numbers from {from} to {to}")
            }
        }
    }
}

fn map_text(entries: impl Iterator<Item = (String, String)>) -> Option<String> {
    let entries: Vec<String> = entries.map(|(key, value)| format!("{} = {value}", quoted(&key))).collect();
    (!entries.is_empty()).then(|| format!("{{ {} }}", entries.join(", ")))
}

/// A text as HCL would write it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' | '%' if rest.peek() == Some(&'{') => out.extend([c, c]),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A share as a policy would write it: 0.75 is `75%`. Six decimals, so that no arithmetic shows through.
pub fn share_text(share: f64) -> String {
    format!("{}%", (share * 100.0 * 1e6).round() / 1e6)
}

/// A duration as a policy would write it, exact to the millisecond: `1h30m`.
pub fn duration_text(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if rest >= millis {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{}{unit}", rest / millis);
            rest %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_a_file_would_say_them() {
        assert_eq!(share_text(0.07 * 3.0), "21%");
        assert_eq!(share_text(0.0025), "0.25%");
        assert_eq!(duration_text(Duration::from_secs(93_784)), "1d2h3m4s");
        assert_eq!(duration_text(Duration::ZERO), "0s");
        assert_eq!(quoted("a\"b\\ ${x} $ %{ \n"), r#""a\"b\\ $${x} $ %%{ \n""#);
    }
}
