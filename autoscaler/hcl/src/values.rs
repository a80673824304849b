//! From one attribute's expression to the value that its field takes.

use crate::decode::Reader;
use crate::literal::{Literal, key_span, key_text};
use crate::problem::shorten;
use crate::table::{Field, Kind, Wrong, duration_text, quoted, share_text};
use crate::{Problem, nearest};
use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, Object};
use std::collections::BTreeSet;
use std::time::Duration;

impl Reader<'_> {
    /// Reads an attribute's value, or says what is wrong with it.
    pub(crate) fn value<T>(&mut self, field: &Field<T>, expression: &Expression, path: &str, into: &mut T) {
        let literal = Literal::of(expression);
        if let Some(clear) = field.clear {
            clear(into);
        }
        let result = match (&field.kind, &literal) {
            (Kind::Flag { set, .. }, Literal::Bool(flag)) => {
                set(into, *flag);
                Ok(())
            }
            (Kind::Whole { range, set, .. }, Literal::Number(float, whole)) => {
                whole_number(*float, *whole, *range).map(|number| set(into, number))
            }
            (Kind::Number { range, set, .. }, Literal::Number(number, _)) => {
                in_range(number, range).map(|()| set(into, *number))
            }
            (Kind::Share { range, set, .. }, Literal::Text(text)) => {
                share(text, *range).map(|share| set(into, share))
            }
            (Kind::Duration { range, set, .. }, Literal::Text(text)) => {
                duration(text, *range).map(|duration| set(into, duration))
            }
            (Kind::Choice { of, set, .. }, Literal::Text(text)) => {
                choice(text, of).map(|word| set(into, word))
            }
            (Kind::Text { set, .. }, Literal::Text(text)) => set(into, text),
            (Kind::Texts { add, .. }, Literal::List(items)) => {
                return self.texts(field, items, path, |text| add(into, text));
            }
            (Kind::TextMap { .. } | Kind::NumberMap { .. }, Literal::Map(map)) => {
                return self.map(field, map, path, into);
            }
            (kind, literal) => Err(other_type(kind, literal, expression)),
        };
        if let Err(wrong) = result {
            self.wrong(field, expression, path, wrong);
        }
    }

    /// Reports a value that a field does not take.
    fn wrong<T>(&mut self, field: &Field<T>, at: &Expression, path: &str, wrong: Wrong) {
        let place = self.place(at.span().unwrap_or_default());
        let value = shorten(place.text());
        let expected = if wrong.expected.is_empty() { field.kind.expected() } else { wrong.expected };
        let problem = Problem::error(&place, path, format!("{value} {}", wrong.what)).value(&value);
        let why = field.why.filter(|_| wrong.beyond).map(str::to_owned);
        let help = wrong.help.or(why);
        self.fault(path, problem.expected(expected).help(help));
    }

    fn texts<T>(
        &mut self,
        field: &Field<T>,
        items: &[&Expression],
        path: &str,
        mut add: impl FnMut(&str) -> Result<(), Wrong>,
    ) {
        let mut seen = BTreeSet::new();
        for item in items {
            let result = match Literal::of(item) {
                Literal::Text(text) if !seen.insert(text.clone()) => Err(Wrong::new("is given twice")),
                Literal::Text(text) => add(&text),
                other => Err(other_type(&field.kind, &other, item)),
            };
            if let Err(wrong) = result {
                self.wrong(field, item, path, wrong);
            }
        }
    }

    fn map<T>(&mut self, field: &Field<T>, map: &Object, path: &str, into: &mut T) {
        // The parser has refused keys that are written alike twice; `a` and `"a"` are the same key, too.
        let mut seen = BTreeSet::new();
        for (key, value) in map {
            let Some(name) = key_text(key) else {
                let place = self.place(key_span(key).unwrap_or_default());
                let problem =
                    Problem::error(&place, path, format!("the key {} is not a text", shorten(place.text())));
                let help = format!("with quotes: {}", quoted(place.text()));
                self.fault(path, problem.expected(field.kind.expected()).help(help));
                continue;
            };
            let expression = value.expr();
            let result = match (&field.kind, Literal::of(expression)) {
                _ if !seen.insert(name.clone()) => Err(Wrong::new("is a second value for this key")),
                (Kind::TextMap { add, .. }, Literal::Text(text)) => add(into, &name, &text),
                (Kind::NumberMap { add, range, .. }, Literal::Number(number, _)) => {
                    in_range(&number, range).and_then(|()| add(into, &name, number))
                }
                (kind, other) => Err(other_type(kind, &other, expression)),
            };
            if let Err(wrong) = result {
                self.wrong(field, expression, &format!("{path}.{name}"), wrong);
            }
        }
    }
}

/// Says that a value is of another type, and how it should be written where that is clear.
fn other_type<T>(kind: &Kind<T>, found: &Literal<'_>, at: &Expression) -> Wrong {
    let help = match (kind, found) {
        (Kind::Flag { .. }, Literal::Text(text)) if text == "true" || text == "false" => {
            Some(format!("without quotes: {text}"))
        }
        (Kind::Whole { .. } | Kind::Number { .. } | Kind::NumberMap { .. }, Literal::Text(text))
            if text.parse::<f64>().is_ok() =>
        {
            Some(format!("without quotes: {text}"))
        }
        (Kind::Share { .. }, Literal::Number(number, _)) if *number > 1.0 => Some(format!("\"{number}%\"")),
        (Kind::Share { .. }, Literal::Number(number, _)) => Some(quoted(&share_text(*number))),
        (Kind::Duration { .. }, Literal::Number(_, Some(seconds))) => {
            Some(format!("{} if seconds are meant", quoted(&duration_text(Duration::from_secs(*seconds)))))
        }
        (Kind::Texts { .. }, Literal::Text(text)) => Some(format!("[{}]", quoted(text))),
        (Kind::Text { .. } | Kind::Choice { .. }, Literal::Other(_)) => match at {
            Expression::Variable(name) => Some(format!("with quotes: {}", quoted(name.as_str()))),
            _ => None,
        },
        _ => None,
    };
    Wrong::new(format!("is {}", found.kind())).help(help)
}

fn whole_number(float: f64, whole: Option<u64>, range: (u32, u32)) -> Result<u32, Wrong> {
    in_range(&float, &(f64::from(range.0), f64::from(range.1)))?;
    whole.and_then(|whole| u32::try_from(whole).ok()).ok_or_else(|| Wrong::new("is not a whole number"))
}

/// Written so that what is not a number is out of range.
fn in_range<N: PartialOrd>(number: &N, (from, to): &(N, N)) -> Result<(), Wrong> {
    if number < from {
        Err(Wrong::beyond("is too small"))
    } else if number <= to {
        Ok(())
    } else {
        Err(Wrong::beyond("is too large"))
    }
}

fn share(text: &str, range: (f64, f64)) -> Result<f64, Wrong> {
    let number = text.trim().strip_suffix('%').map(str::trim);
    let Some(percent) =
        number.and_then(|number| number.parse::<f64>().ok()).filter(|percent| percent.is_finite())
    else {
        let help = text.trim().parse::<f64>().ok().map(|number| format!("\"{number}%\""));
        return Err(Wrong::new("is not a share").help(help));
    };
    let share = percent / 100.0;
    in_range(&share, &range).map(|()| share)
}

fn duration(text: &str, range: (Duration, Duration)) -> Result<Duration, Wrong> {
    let duration = fleet::parse_duration(text).map_err(|_| {
        let seconds = text.trim().parse::<u64>().ok();
        let help = seconds.map(|seconds| format!("\"{seconds}s\" if seconds are meant"));
        Wrong::new("is not a duration")
            .help(help.unwrap_or_else(|| "such as \"90s\", \"5m\" or \"1h30m\"".to_owned()))
    })?;
    in_range(&duration, &range).map(|()| duration)
}

fn choice(text: &str, of: &[&'static str]) -> Result<&'static str, Wrong> {
    of.iter().find(|word| **word == text).copied().ok_or_else(|| {
        let meant = nearest(text, of.iter().copied());
        Wrong::new("is not one of the choices").help(meant.map(|meant| format!("did you mean \"{meant}\"?")))
    })
}
