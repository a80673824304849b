//! Texts and numbers as a document may hold them.

use std::fmt::{self, Display, Formatter, Write as _};

/// A text of unknown origin, fit for content and for quoted attributes.
pub(super) struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Control characters have no place in a document, and those that turn writing around deceive.
                c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                    f.write_char('\u{fffd}')?;
                }
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A number with so many digits behind the point; a dash where there is none.
pub(super) fn fixed(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "–".to_owned() }
}

/// A share of 0..=1 as a percentage, with digits enough to tell small ones from nothing.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = match percent.abs() {
        p if p == 0.0 || p >= 9.95 => 1,
        p if p >= 0.0995 => 2,
        _ => 3,
    };
    format!("{} %", fixed(percent, digits))
}

/// A number without needless digits, two behind the point at most.
pub(super) fn plain(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let rounded = (value * 100.0).round() / 100.0;
    format!("{rounded}")
}

/// The last part of a path: what people call a trace.
pub(super) fn last_part(name: &str) -> &str {
    name.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(name)
}

/// A word as serde writes it.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(value) => value.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_breaks_out_of_where_it_stands() {
        let hostile = "<script>&\"'\u{0}\n\u{202e}x";
        let escaped = Escaped(hostile).to_string();
        assert_eq!(escaped, "&lt;script&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}\u{fffd}x");
    }

    #[test]
    fn small_shares_are_told_from_nothing() {
        for (share, shown) in
            [(0.0, "0.0 %"), (0.000_04, "0.004 %"), (0.0123, "1.23 %"), (0.46, "46.0 %"), (f64::NAN, "– %")]
        {
            assert_eq!(percent(share), shown);
        }
    }

    #[test]
    fn a_path_is_called_by_its_last_part() {
        for (path, name) in [("a/b/c.csv", "c.csv"), ("c", "c"), ("a/b/", "b"), ("/", "/"), ("", "")] {
            assert_eq!(last_part(path), name);
        }
    }
}
