//! Filters of describes: all of them must match, each by one of its values, `*` and `?` standing for any text.

use crate::wire::{AwsError, Data};
use std::collections::BTreeMap;

/// A request's filters.
#[derive(Debug)]
pub(super) struct Filters<'a>(Vec<(&'a str, Vec<&'a str>)>);

impl<'a> Filters<'a> {
    /// Reads `Filter.N`.
    ///
    /// * `known`: the names that this describe knows, besides those about tags when `tags` says so.
    pub fn read(input: &'a Data, known: &[&str], tags: bool) -> Result<Self, AwsError> {
        let mut filters = Vec::new();
        for filter in input.get("Filter").items() {
            let name = filter.get("Name").as_str().unwrap_or_default();
            let about_tags = tags && (name.starts_with("tag:") || name == "tag-key" || name == "tag-value");
            if !about_tags && !known.contains(&name) {
                let message = format!("The filter '{name}' is invalid");
                return Err(AwsError::new("InvalidParameterValue", message));
            }
            filters.push((name, filter.get("Value").texts()));
        }
        Ok(Self(filters))
    }

    /// Whether a resource passes.
    ///
    /// * `values`: what the resource has under a filter's name; none: it does not pass.
    pub fn pass(&self, tags: &BTreeMap<String, String>, values: impl Fn(&str) -> Option<String>) -> bool {
        self.0.iter().all(|(name, patterns)| {
            let any = |value: &str| patterns.iter().any(|pattern| matches(pattern, value));
            if let Some(key) = name.strip_prefix("tag:") {
                return tags.get(key).is_some_and(|value| any(value));
            }
            match *name {
                "tag-key" => tags.keys().any(|key| any(key)),
                "tag-value" => tags.values().any(|value| any(value)),
                name => values(name).is_some_and(|value| any(&value)),
            }
        })
    }
}

/// Whether a text is of a pattern's form: `*` is any text, `?` any one character, `\` takes the next as it is.
///
/// Linear in the text for each `*`: a pattern cannot make it explode.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern = parts(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Part::Any) => {
                star = Some((p, t));
                p += 1;
            }
            Some(Part::One) => (p, t) = (p + 1, t + 1),
            Some(Part::Char(c)) if *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|part| matches!(part, Part::Any))
}

enum Part {
    Any,
    One,
    Char(char),
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut chars = pattern.chars();
    let mut parts = Vec::new();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Char(chars.next().unwrap_or('\\')),
            c => Part::Char(c),
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::map;

    #[test]
    fn patterns_match_as_ec2s_do() {
        for (pattern, text, expected) in [
            ("running", "running", true),
            ("run*", "running", true),
            ("*ing", "running", true),
            ("r?nning", "running", true),
            ("*n*n*", "running", true),
            ("*x*", "running", false),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("run", "running", false),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
        assert!(!matches(&"*a".repeat(2000), &"b".repeat(2000)));
    }

    #[test]
    fn every_filter_must_match_by_one_of_its_values() {
        let filter = |name: &str, values: &[&str]| {
            map([("Name", name.into()), ("Value", Data::list(values.iter().copied()))])
        };
        let input = map([(
            "Filter",
            Data::List(vec![
                filter("tag:role", &["web", "api"]),
                filter("instance-state-name", &["running"]),
            ]),
        )]);
        let filters = Filters::read(&input, &["instance-state-name"], true).expect("known filters");
        let tags = |value: &str| BTreeMap::from([("role".to_owned(), value.to_owned())]);
        let state = |state: &'static str| move |_: &str| Some(state.to_owned());
        assert!(filters.pass(&tags("api"), state("running")));
        assert!(!filters.pass(&tags("api"), state("pending")));
        assert!(!filters.pass(&tags("db"), state("running")));
        assert!(!filters.pass(&BTreeMap::new(), state("running")));
        assert!(
            Filters::read(&input, &[], true).is_err(),
            "an unknown filter is no filter that lets all pass"
        );
    }
}
