//! Values as files give them: nothing is computed, so only what stands for itself is a value.

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, Object, ObjectKey, UnaryOperator};
use hcl_edit::template::{Element, Template};
use std::ops::Range;

/// A value that stands for itself.
pub(crate) enum Literal<'a> {
    Bool(bool),
    /// The number, and as a whole one where it is that and not negative.
    Number(f64, Option<u64>),
    Text(String),
    List(Vec<&'a Expression>),
    Map(&'a Object),
    /// Anything else, in words.
    Other(&'static str),
}

impl<'a> Literal<'a> {
    pub(crate) fn of(expression: &'a Expression) -> Self {
        match expression {
            Expression::Bool(flag) => Self::Bool(*flag.value()),
            Expression::Number(number) => number
                .as_f64()
                .map_or(Self::Other("not a number"), |float| Self::Number(float, number.as_u64())),
            Expression::String(text) => Self::Text(text.value().clone()),
            Expression::Array(list) => Self::List(list.iter().collect()),
            Expression::Object(map) => Self::Map(map),
            Expression::HeredocTemplate(heredoc) => {
                let mut heredoc = heredoc.clone();
                heredoc.dedent();
                plain(&heredoc.template).map_or(INTERPOLATION, Self::Text)
            }
            Expression::StringTemplate(template) => {
                plain_elements(template.iter()).map_or(INTERPOLATION, Self::Text)
            }
            Expression::UnaryOp(op) if *op.operator.value() == UnaryOperator::Neg => match Self::of(&op.expr)
            {
                Self::Number(float, _) => Self::Number(-float, None),
                _ => Self::Other("an expression"),
            },
            Expression::Null(_) => Self::Other("no value"),
            Expression::Variable(_) => Self::Other("a name without quotes"),
            _ => Self::Other("an expression, and nothing is computed here"),
        }
    }

    /// What it is, in words that fit after "is".
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "true or false",
            Self::Number(..) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Other(words) => words,
        }
    }
}

const INTERPOLATION: Literal<'static> = Literal::Other("a text with `${`, and nothing is filled in here");

fn plain(template: &Template) -> Option<String> {
    plain_elements(template.iter())
}

fn plain_elements<'a>(elements: impl Iterator<Item = &'a Element>) -> Option<String> {
    elements
        .map(|element| match element {
            Element::Literal(text) => Some(text.as_str().to_owned()),
            _ => None,
        })
        .collect()
}

/// The key of a map's entry: quoted or not.
pub(crate) fn key_text(key: &ObjectKey) -> Option<String> {
    match key {
        ObjectKey::Ident(name) => Some(name.as_str().to_owned()),
        ObjectKey::Expression(Expression::String(text)) => Some(text.value().clone()),
        // `m5.large` without quotes.
        ObjectKey::Expression(_) => None,
    }
}

/// The span of a key.
pub(crate) fn key_span(key: &ObjectKey) -> Option<Range<usize>> {
    match key {
        ObjectKey::Ident(name) => name.span(),
        ObjectKey::Expression(expression) => expression.span(),
    }
}

/// The keys of a map as they stand in its text, unquoted, with their places in it: the tree keeps only the last
/// of equal ones.
///
/// * `text`: the map with its braces, known to be well-formed.
pub(crate) fn keys_in(text: &str) -> Vec<(String, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut keys = Vec::new();
    let mut depth = 0_usize;
    // Where a key may begin; `None` behind the `=` of an entry.
    let mut start = None;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        // Strings and comments are stepped over as wholes.
        let whole = match bytes[at] {
            b'"' => string_length(rest),
            b'#' => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ => 0,
        };
        if whole > 0 {
            at += whole;
            if !rest.starts_with('"') {
                start = start.map(|_| at);
            }
            continue;
        }
        match bytes[at] {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            b'=' | b':' if depth == 1 => {
                if let Some(from) = start.take() {
                    let raw = &text[from..at];
                    let from = from + raw.len() - raw.trim_start().len();
                    keys.push((raw.trim().trim_matches('"').to_owned(), from..from + raw.trim().len()));
                }
            }
            _ => {}
        }
        if depth == 1 && matches!(bytes[at], b'{' | b',' | b'\n') {
            start = Some(at + 1);
        }
        // Only whole characters are stepped over.
        at += rest.chars().next().map_or(1, char::len_utf8);
    }
    keys
}

/// The length of the string that a text begins with.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_as_they_stand() {
        let text =
            "{ /* z = 1 */ \"é.b\" = \"x = y, \\\"z\", # c = 1\n c : { d = 1, e = 2 }\n  c = [1, 2]\n}";
        let keys = keys_in(text);
        let names: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(names, ["é.b", "c", "c"]);
        assert_eq!(&text[keys[0].1.clone()], "\"é.b\"");
    }
}
