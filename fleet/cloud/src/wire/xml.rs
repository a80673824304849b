//! XML as EC2 and the AWS Query services write it.

use super::Data;
use fleet::Timestamp;
use std::fmt::Write as _;

/// Writes a value as the content of an element.
///
/// * `item`: what the items of a list are called: `item` with EC2, `member` with the others.
pub(crate) fn write(out: &mut String, value: &Data, item: &str) {
    // Writing to a `String` cannot fail.
    let _ = match value {
        Data::Null => Ok(()),
        Data::Bool(truth) => write!(out, "{truth}"),
        Data::Int(number) => write!(out, "{number}"),
        // `Debug` keeps the point of a whole number: EC2 writes 5.0.
        Data::Float(number) => write!(out, "{number:?}"),
        Data::Text(text) => {
            escape(out, text);
            Ok(())
        }
        Data::Time(time) => write!(out, "{}", Millis(*time)),
        Data::List(items) => {
            for value in items {
                element(out, item, value, item);
            }
            Ok(())
        }
        Data::Map(entries) => {
            for (name, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
                element(out, name, value, item);
            }
            Ok(())
        }
    };
}

fn element(out: &mut String, name: &str, value: &Data, item: &str) {
    let _ = write!(out, "<{name}>");
    write(out, value, item);
    let _ = write!(out, "</{name}>");
}

/// Writes text with what XML reserves escaped; characters that XML 1.0 cannot hold become U+FFFD.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(c),
            c if c < ' ' || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
}

/// A time as AWS writes it, always with milliseconds.
struct Millis(Timestamp);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = Timestamp::from_secs(self.0.secs()).to_string();
        write!(f, "{}.{:03}Z", seconds.trim_end_matches('Z'), self.0.millis().rem_euclid(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::super::map;
    use super::*;

    #[test]
    fn values_are_written_as_ec2_writes_them() {
        let value = map([
            ("fulfilledCapacity", 5.0.into()),
            ("targetCapacity", 5u32.into()),
            ("createTime", Timestamp::from_millis(1_772_359_200_050).into()),
            ("validUntil", Data::Null),
            ("tagSet", Data::List(vec![map([("key", "a&b".into()), ("value", "<\"\u{1}\n>".into())])])),
            ("errorSet", Data::List(vec![])),
        ]);
        let mut out = String::new();
        write(&mut out, &value, "item");
        assert_eq!(
            out,
            "<fulfilledCapacity>5.0</fulfilledCapacity><targetCapacity>5</targetCapacity>\
             <createTime>2026-03-01T10:00:00.050Z</createTime>\
             <tagSet><item><key>a&amp;b</key><value>&lt;&quot;\u{FFFD}\n&gt;</value></item></tagSet>\
             <errorSet></errorSet>"
        );
    }
}
