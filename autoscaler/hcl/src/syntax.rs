//! The parser's complaints in words that help.

use crate::scan::Fault;

/// Says what is wrong at an offset that the parser stumbled over.
///
/// * `message`: the parser's own words, used where nothing better is known.
pub(crate) fn explain(text: &str, offset: usize, message: &str) -> Fault {
    let at = text.floor_char_boundary(offset);
    let (before, rest) = text.split_at(at);
    let line = &before[before.rfind('\n').map_or(0, |end| end + 1)..];
    let found = rest.chars().next();
    let width = found.filter(|c| !c.is_control()).map_or(0, char::len_utf8);
    let fault = |message: &str, expected: &str| Fault {
        span: at..at + width,
        message: message.to_owned(),
        expected: expected.to_owned(),
    };

    if let Some(known) = known_slip(line, rest, message) {
        return fault(known.0, known.1);
    }
    let message_expects = match message {
        _ if message.starts_with("invalid expression") => "a value",
        _ if message.starts_with("invalid structure") => "`=` and a value, or a block's labels and `{`",
        "expected newline or eof" => "the end of the line",
        _ => message.split_once("expected ").map_or("", |(_, what)| what),
    };
    match found {
        None | Some('\r' | '\n') if line.trim().is_empty() => fault("unexpected end", message_expects),
        None | Some('\r' | '\n') => fault("unexpected end of the line", message_expects),
        Some(c) => fault(&format!("unexpected `{}`", c.escape_debug()), message_expects),
    }
}

/// Slips that people who come from other languages make.
fn known_slip(line: &str, rest: &str, message: &str) -> Option<(&'static str, &'static str)> {
    let found = rest.chars().next();
    let last = line.trim_end().chars().next_back();
    let one_line_block = message.starts_with("invalid block body") && line.contains('{');
    Some(match found {
        _ if message.contains("found redefined object key") => ("this key is given twice", "one value"),
        Some('\'') => ("strings are not quoted with `'`", "`\"`"),
        Some(':') if !line.contains('=') => ("an attribute is not given with `:`", "`name = value`"),
        Some(',' | ';') => ("statements are not ended by a sign", "each statement on a line of its own"),
        Some(c) if one_line_block && (c.is_alphabetic() || c == '_') => {
            ("a block on one line holds one attribute", "each attribute on a line of its own")
        }
        Some('\n' | '\r') if brace_ahead(rest, message).is_some() => {
            ("the block's `{` is on another line", "`{` on the line of the block's name")
        }
        Some(c) if c.is_alphabetic() && last.is_some_and(|last| last.is_ascii_digit()) => {
            ("a number with a unit is text", "quotes around it, such as \"5m\"")
        }
        Some('\n' | '\r') if last == Some('%') => {
            ("a number with a unit is text", "quotes around it, such as \"75%\"")
        }
        Some('\n' | '\r') if last == Some('=') => ("the value is missing", "a value behind the `=`"),
        _ => return None,
    })
}

/// Where the `{` stands that a block's header lacks, if it begins what follows the line.
pub(crate) fn brace_on_next_line(text: &str, offset: usize, message: &str) -> Option<usize> {
    brace_ahead(text.get(offset..)?, message).map(|ahead| offset + ahead)
}

fn brace_ahead(rest: &str, message: &str) -> Option<usize> {
    let ahead = rest.len() - rest.trim_start().len();
    (message.contains("`{`") && rest.starts_with(['\r', '\n']) && rest[ahead..].starts_with('{'))
        .then_some(ahead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hcl_edit::parser::parse_body;

    fn check(text: &str, message: &str, expected: &str) {
        let error = parse_body(text).expect_err(text);
        let fault = explain(text, error.location().offset(), error.message());
        assert_eq!((fault.message.as_str(), fault.expected.as_str()), (message, expected), "{text:?}");
    }

    #[test]
    fn slips_are_told_in_words_that_help() {
        check("f 'web' {\n}\n", "strings are not quoted with `'`", "`\"`");
        check("a: 1\n", "an attribute is not given with `:`", "`name = value`");
        check("a = 1,\n", "statements are not ended by a sign", "each statement on a line of its own");
        let own_line = "each attribute on a line of its own";
        check("c { a = 1 b = 2 }\n", "a block on one line holds one attribute", own_line);
        check(
            "f \"web\"\n{\n}\n",
            "the block's `{` is on another line",
            "`{` on the line of the block's name",
        );
        check(
            "scale_in\n{\n}\n",
            "the block's `{` is on another line",
            "`{` on the line of the block's name",
        );
        check("a = { \"b\" = 1, \"b\" = 2 }\n", "this key is given twice", "one value");
        check("a = 9h\n", "a number with a unit is text", "quotes around it, such as \"5m\"");
        check("a = 75%\n", "a number with a unit is text", "quotes around it, such as \"75%\"");
        check("a =\n", "the value is missing", "a value behind the `=`");
    }

    #[test]
    fn other_faults_say_what_could_stand_there() {
        check("a = 1 @\n", "unexpected `@`", "the end of the line");
        check("a ?\n", "unexpected `?`", "`=` and a value, or a block's labels and `{`");
        check("a\n", "unexpected end of the line", "`=` and a value, or a block's labels and `{`");
        check("a = (1\nb = 2\n", "unexpected `b`", "`)`");
    }
}
