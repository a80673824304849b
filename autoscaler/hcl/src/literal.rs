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
