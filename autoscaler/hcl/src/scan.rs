//! A look at the brackets, strings and comments of a text before it is parsed.
//!
//! The parser stops at the first fault, and for what was left open that is far from where it was opened. Here
//! faults are found where they are made, nesting is bounded, and the brackets' partners are remembered so that
//! parsing can go on behind a faulty statement.

use std::ops::Range;

/// How deep brackets may nest. Policies need four levels.
pub(crate) const MAX_DEPTH: usize = 32;

/// Strings left open beyond so many are not worth looking behind.
const MAX_FAULTS: usize = 20;

/// Something that is wrong with the text as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) expected: String,
}

/// What a scan found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) faults: Vec<Fault>,
    /// Brackets and their partners: offset of the opening one, offset of the closing one.
    pub(crate) pairs: Vec<(usize, usize)>,
    /// Set where it cannot be told what is inside of what: parsing would only mislead.
    pub(crate) broken: bool,
}

#[derive(Clone, Copy)]
enum Open {
    /// The bracket, its offset, and how far its line is indented.
    Bracket(u8, usize, usize),
    Quote(usize),
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open>,
    found: Scan,
    /// A bracket whose partner seems to be missing, judging by the indentation.
    suspect: Option<usize>,
    /// Where the line of `at` begins; kept up by [`Scanner::line`].
    line_start: usize,
    /// How far that line is indented.
    indent: usize,
    /// Up to where lines were looked for.
    seen: usize,
}

/// Scans a text. Never fails; O(n).
pub(crate) fn scan(text: &str) -> Scan {
    let mut scanner = Scanner {
        text,
        at: 0,
        open: Vec::new(),
        found: Scan::default(),
        suspect: None,
        line_start: 0,
        indent: indent_of(text),
        seen: 0,
    };
    while scanner.at < text.len() && !scanner.found.broken {
        match scanner.open.last() {
            Some(Open::Quote(start)) => scanner.in_quotes(*start),
            _ => scanner.in_code(),
        }
    }
    if !scanner.found.broken {
        scanner.at_end();
    }
    scanner.found
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fault(&mut self, span: Range<usize>, message: impl Into<String>, expected: impl Into<String>) {
        self.found.faults.push(Fault { span, message: message.into(), expected: expected.into() });
    }

    /// A fault of the brackets: said only when nothing before it explains it, since an open string swallows
    /// brackets.
    fn broken(&mut self, span: Range<usize>, message: impl Into<String>, expected: impl Into<String>) {
        if self.found.faults.is_empty() {
            self.fault(span, message, expected);
        }
        self.found.broken = true;
    }

    fn in_quotes(&mut self, start: usize) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        match rest {
            [b'\\', b'\n', ..] | [b'\n', ..] => self.unclosed_string(start),
            [b'\\', _, ..] => self.at += 2,
            [b'$', b'$', b'{', ..] | [b'%', b'%', b'{', ..] => self.at += 3,
            [b'$' | b'%', b'{', ..] => {
                self.at += 1;
                self.open_bracket(b'{');
            }
            [b'"', ..] => {
                self.open.pop();
                self.at += 1;
            }
            _ => self.at += 1,
        }
    }

    /// Ends an open string, and what it is inside of where it is part of an interpolation, at its line's end.
    fn unclosed_string(&mut self, start: usize) {
        let outermost = self.open.iter().position(|open| matches!(open, Open::Quote(_)));
        self.open.truncate(outermost.unwrap_or_default());
        self.at += self.rest().find('\n').map_or(self.rest().len(), |end| end + 1);
        let end = self.text[start..].find(['\r', '\n']).map_or(self.text.len(), |end| start + end);
        self.fault(start..end, "this string is not closed", "`\"` at its end, on the same line");
        self.found.broken |= self.found.faults.len() > MAX_FAULTS;
    }

    fn in_code(&mut self) {
        let rest = self.rest();
        if rest.starts_with('#') || rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            match rest.find("*/") {
                Some(end) => self.at += end + 2,
                None => self.broken(self.at..self.at + 2, "this comment is not closed", "`*/` at its end"),
            }
        } else if rest.starts_with("<<") {
            self.heredoc();
        } else {
            match self.text.as_bytes()[self.at] {
                b'"' => {
                    self.open.push(Open::Quote(self.at));
                    self.at += 1;
                }
                bracket @ (b'{' | b'[' | b'(') => self.open_bracket(bracket),
                bracket @ (b'}' | b']' | b')') => self.close_bracket(bracket),
                _ => self.at += 1,
            }
        }
    }

    /// Skips `<<NAME` and the lines up to `NAME`.
    fn heredoc(&mut self) {
        let start = self.at;
        let line = self.rest().lines().next().unwrap_or_default();
        let name = line.trim_start_matches('<').trim_start_matches('-').trim();
        self.at += line.len();
        if name.is_empty() {
            return;
        }
        let body = self.rest();
        let mut end = 0;
        for line in body.split_inclusive('\n') {
            end += line.len();
            let last =
                line.trim().strip_prefix(name).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
            if last {
                // The brackets behind the name, if any, are code again.
                self.at += end - line.len() + line.find(name).unwrap_or(0) + name.len();
                return;
            }
        }
        let name = name.to_owned();
        self.broken(
            start..start + line.len(),
            "this text is not closed",
            format!("a line `{name}` at its end"),
        );
    }

    fn open_bracket(&mut self, bracket: u8) {
        if self.open.len() >= MAX_DEPTH {
            let expected = format!("at most {MAX_DEPTH} levels");
            self.broken(self.at..self.at + 1, "nested too deeply", expected);
            return;
        }
        let (_, indent) = self.line();
        self.open.push(Open::Bracket(bracket, self.at, indent));
        self.at += 1;
    }

    fn close_bracket(&mut self, bracket: u8) {
        let at = self.at;
        let (line_start, indent) = self.line();
        self.at += 1;
        match self.open.last().copied() {
            Some(Open::Bracket(open, start, opened_at)) if partner(open) == bracket => {
                let first_of_line = line_start + indent == at;
                if self.suspect.is_none() && first_of_line && indent < opened_at {
                    self.suspect = Some(start);
                }
                self.open.pop();
                self.found.pairs.push((start, at));
            }
            Some(Open::Bracket(open, start, _)) => {
                let line = self.text[..start].matches('\n').count() + 1;
                let expected =
                    format!("`{}` for the `{}` of line {line}", char::from(partner(open)), char::from(open));
                self.broken(
                    at..at + 1,
                    format!("this `{}` closes another bracket", char::from(bracket)),
                    expected,
                );
            }
            _ => {
                let message = format!("this `{}` closes nothing", char::from(bracket));
                self.broken(at..at + 1, message, "as many closing brackets as opening ones");
            }
        }
    }

    fn at_end(&mut self) {
        match self.open.iter().rev().find(|open| matches!(open, Open::Quote(_))).or(self.open.first()) {
            Some(Open::Quote(start)) => self.unclosed_string(*start),
            Some(Open::Bracket(bracket, start, _)) => {
                // The outermost bracket is what is left over; the one that looks forgotten is what helps.
                let suspect =
                    self.suspect.filter(|at| self.text.as_bytes()[*at] == *bracket).unwrap_or(*start);
                let bracket = *bracket;
                let message = format!("this `{}` is never closed", char::from(bracket));
                self.broken(suspect..suspect + 1, message, format!("`{}`", char::from(partner(bracket))));
            }
            None => {}
        }
    }

    /// Where the line of `at` begins, and how far it is indented. O(1) on the whole.
    fn line(&mut self) -> (usize, usize) {
        if let Some(last) = self.text.as_bytes()[self.seen..self.at].iter().rposition(|byte| *byte == b'\n') {
            self.line_start = self.seen + last + 1;
            self.indent = indent_of(&self.text[self.line_start..]);
        }
        self.seen = self.at;
        (self.line_start, self.indent)
    }
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

const fn partner(bracket: u8) -> u8 {
    match bracket {
        b'{' => b'}',
        b'[' => b']',
        _ => b')',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expect`: the faulty text and the message of each fault, `!` in front where the scan broke off.
    fn check(text: &str, expect: &[&str]) {
        let scan = scan(text);
        let faults: Vec<_> =
            scan.faults.iter().map(|f| format!("{}: {}", &text[f.span.clone()], f.message)).collect();
        assert_eq!(faults, expect.iter().map(|e| e.trim_start_matches('!')).collect::<Vec<_>>(), "{text:?}");
        assert_eq!(scan.broken, expect.first().is_some_and(|e| e.starts_with('!')), "{text:?}");
    }

    #[test]
    fn brackets_in_strings_comments_and_heredocs_are_text() {
        for fine in [
            "",
            "a = \"}\" # }\nb { c = [1, (2)] }\n// ]\n/* { \n */",
            "a = \"\\\"{\"\n",
            "a = \"$${ %%{ \"\n",
            "a = \"${b[\"c\"]} {\"\n",
            "a = <<EOF\n}\"\n  EOF\nb { }\n",
            "a = <<-X\n  X1\n  X\n",
        ] {
            check(fine, &[]);
        }
    }

    #[test]
    fn what_is_left_open_is_told_where_it_was_opened() {
        check("a = \"b\nc = 1\n", &["\"b: this string is not closed"]);
        check("a = \"b", &["\"b: this string is not closed"]);
        check(
            "a = \"${\"x}\nc = \"d\n",
            &["\"x}: this string is not closed", "\"d: this string is not closed"],
        );
        check("a {\n", &["!{: this `{` is never closed"]);
        check("a = [1,\n", &["![: this `[` is never closed"]);
        check("/* a", &["!/*: this comment is not closed"]);
        check("a = <<EOF\nb\n", &["!<<EOF: this text is not closed"]);
    }

    #[test]
    fn the_bracket_that_looks_forgotten_is_blamed() {
        let text = "a {\n  b {\n    c = 1\n}\n";
        let scan = scan(text);
        assert_eq!(scan.faults[0].span, 8..9, "the inner bracket");
    }

    #[test]
    fn brackets_that_close_nothing_are_told() {
        check("}\n", &["!}: this `}` closes nothing"]);
        check("a { b = [ }\n", &["!}: this `}` closes another bracket"]);
        check("a \"b {\n}\n", &["!\"b {: this string is not closed"]);
    }

    #[test]
    fn nesting_is_bounded() {
        check(&("a = ".to_owned() + &"[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH)), &[]);
        check(&("a = ".to_owned() + &"[".repeat(100_000)), &["![: nested too deeply"]);
    }
}
