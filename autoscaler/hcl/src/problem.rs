//! What is wrong with a file: facts for programs, text with carets for people.

use crate::Place;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// Problems beyond so many errors (and as many warnings) are dropped: nobody reads them all, and a file of
/// garbage must not take long or fill the memory.
const KEPT: usize = 200;

/// Values are shown up to this length.
const SHOWN_VALUE: usize = 80;

/// What stands for what must not be shown.
const HIDDEN: &str = "***";

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but likely does not say what is meant.
    Warning,
}

/// One thing that is wrong. Serialises to what a program can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// The file's name.
    pub file: String,
    /// The line, from 1; 0 where it is the file as a whole, such as one that cannot be read.
    pub line: usize,
    /// The column in characters, from 1; 0 where there is no line.
    pub column: usize,
    /// The dotted path of what is wrong, such as `fleet.web.capacity.max`; empty where it is the file itself.
    pub path: String,
    /// The value as it stands in the file, cut after 80 characters; `None` where no value is at fault.
    pub value: Option<String>,
    /// What is wrong: a fact that fits after "path: ".
    pub message: String,
    /// What would be right.
    pub expected: Option<String>,
    /// How to get there: the nearest known name, the way to write it.
    pub help: Option<String>,
    #[serde(skip)]
    caret: Caret,
}

/// The line that a problem is shown with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Caret {
    /// File and offset, which problems are sorted by.
    order: (usize, usize),
    text: String,
    range: Range<usize>,
}

impl Problem {
    /// A problem of what stands at `place`.
    pub fn new(severity: Severity, place: &Place, path: &str, message: impl Into<String>) -> Self {
        let (text, range) = place.line_and_caret();
        let (text, range) = mask(text, range);
        Self {
            severity,
            file: place.file().to_owned(),
            line: place.line(),
            column: place.column(),
            path: path.to_owned(),
            value: None,
            message: mask(&message.into(), 0..0).0,
            expected: None,
            help: None,
            caret: Caret { order: (place.source.order, place.span.start), text, range },
        }
    }
    /// A problem that keeps a file as a whole from being used, or all of them: there is no line to point at.
    ///
    /// * `name`: what it is shown under: a file's name, a directory's.
    /// * `order`: shown before the problems of the file of this number that lie behind its first byte.
    pub fn of_file(name: impl Into<String>, order: usize, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: name.into(),
            line: 0,
            column: 0,
            path: String::new(),
            value: None,
            message: message.into(),
            expected: None,
            help: None,
            caret: Caret { order: (order, 0), text: String::new(), range: 0..0 },
        }
    }
    /// A problem that keeps the file from being used.
    pub fn error(place: &Place, path: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, place, path, message)
    }
    /// A problem that is likely not meant.
    pub fn warning(place: &Place, path: &str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, place, path, message)
    }
    /// Says which value is at fault.
    #[must_use]
    pub fn value(mut self, value: &str) -> Self {
        self.value = Some(shorten(value));
        self
    }
    /// Says what would be right.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into()).filter(|text| !text.is_empty());
        self
    }
    /// Says how to get there; nothing for `None`.
    #[must_use]
    pub fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = if self.path.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.path, self.message)
        };
        let group = level.primary_title(title);
        let mut group = if self.line == 0 {
            group.element(Origin::path(self.file.as_str()))
        } else {
            let line = Snippet::source(self.caret.text.as_str())
                .line_start(self.line)
                .path(self.file.as_str())
                .annotation(AnnotationKind::Primary.span(self.caret.range.clone()));
            group.element(line)
        };
        if let Some(expected) = &self.expected {
            group = group.element(Level::NOTE.with_name("expected").message(expected.as_str()));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

/// A value on one line, of bounded length.
pub(crate) fn shorten(value: &str) -> String {
    let line = value.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let (mut line, _) = mask(&line, 0..0);
    if let Some((cut, _)) = line.char_indices().nth(SHOWN_VALUE) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// Hides who calls and with which password, wherever an address says so: problems reach logs, CI and whoever may
/// look at a daemon.
///
/// Works on any text, well formed or not: of every word that holds a colon and then an at sign, what stands
/// between the two slashes (where there are none, the word's beginning) and the last at sign becomes `***`.
///
/// * `range`: a part of the text.
/// * returns: the text, and where that part lies in it.
fn mask(text: &str, range: Range<usize>) -> (String, Range<usize>) {
    let mut masked = String::with_capacity(text.len());
    let (mut start, mut end) = (range.start, range.end);
    let breaks = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    for word in text.split_inclusive(breaks) {
        let at = masked.len();
        let hidden = word.rfind('@').filter(|at| word[..*at].contains(':')).map(|at| {
            let from = word[..at].find("//").map_or(0, |slashes| slashes + 2);
            from..at
        });
        let Some(hidden) = hidden.filter(|hidden| !hidden.is_empty()) else {
            masked.push_str(word);
            continue;
        };
        let (hidden_from, hidden_to) = (at + hidden.start, at + hidden.end);
        masked.extend([&word[..hidden.start], HIDDEN, &word[hidden.end..]]);
        // What lies behind moves with the text; what lies inside covers all of what is hidden.
        let moved = |offset: usize, inside: usize| match offset {
            _ if offset >= hidden_to => offset - hidden_to + hidden_from + HIDDEN.len(),
            _ if offset > hidden_from => inside,
            _ => offset,
        };
        (start, end) = (moved(start, hidden_from), moved(end, hidden_from + HIDDEN.len()));
    }
    (masked, start..end)
}

impl fmt::Display for Problem {
    /// One line: `FILE:LINE:COLUMN: path: what is wrong`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity: _, file, line, column, path, value: _, message, expected, help: _, caret: _ } =
            self;
        match line {
            0 => write!(f, "{file}: ")?,
            line => write!(f, "{file}:{line}:{column}: ")?,
        }
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)?;
        expected.as_ref().map_or(Ok(()), |expected| write!(f, "; expected {expected}"))
    }
}

/// Everything that is wrong, in the order of files and of positions in them. Serialises to an array.
///
/// As an error it displays one line a problem; [`Problems::render`] is what people should see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems {
    kept: Vec<Problem>,
    #[serde(skip)]
    cut: bool,
}

impl Problems {
    /// Adds a problem at its place in the order.
    pub fn push(&mut self, problem: Problem) {
        if self.is_full(problem.severity) {
            self.cut = true;
            return;
        }
        let at = self.kept.partition_point(|known| known.caret.order <= problem.caret.order);
        self.kept.insert(at, problem);
    }
    /// Adds another's problems.
    pub fn append(&mut self, other: Self) {
        self.cut |= other.cut;
        other.kept.into_iter().for_each(|problem| self.push(problem));
    }
    /// Whether there is one that keeps a file from being used.
    pub fn has_errors(&self) -> bool {
        self.iter().any(|problem| problem.severity == Severity::Error)
    }
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }
    /// Whether there were more than are kept.
    pub fn is_cut(&self) -> bool {
        self.cut
    }
    /// Says that there are more.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }
    /// Whether another of this severity would be dropped.
    pub(crate) fn is_full(&self, severity: Severity) -> bool {
        self.iter().filter(|known| known.severity == severity).count() >= KEPT
    }
    /// The problems, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.kept.iter()
    }

    /// The text for people: each problem with its line and a caret, an empty line between, ends with a newline
    /// unless nothing is wrong.
    ///
    /// * `colour`: with ANSI colours, for a terminal.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut texts: Vec<String> = self.iter().map(|problem| problem.render(&renderer) + "\n").collect();
        if self.cut {
            texts.push("… and more\n".to_owned());
        }
        texts.join("\n")
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, problem) in self.iter().enumerate() {
            if count > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        if self.cut { f.write_str("\n… and more") } else { Ok(()) }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::File;
    use crate::source::SourceText;
    use std::sync::Arc;

    fn place(text: &str, span: Range<usize>, order: usize) -> Place {
        Place::new(&Arc::new(SourceText::new(&File::new("web.hcl", text), order)), span)
    }

    #[test]
    fn a_problem_shows_place_line_caret_and_what_would_be_right() {
        let problem =
            Problem::error(&place("a = 1\n\tmxa = 20 # ä\n", 7..10, 0), "fleet.web.mxa", "not known")
                .value("20")
                .expected("max or min")
                .help("did you mean `max`?".to_owned());
        let mut problems = Problems::default();
        problems.push(problem);
        let text = "\
error: fleet.web.mxa: not known
 --> web.hcl:2:2
  |
2 |     mxa = 20 # ä
  |     ^^^
  |
  = expected: max or min
  = help: did you mean `max`?
";
        assert_eq!(problems.render(false), text);
        assert_eq!(problems.to_string(), "web.hcl:2:2: fleet.web.mxa: not known; expected max or min");
        assert!(problems.render(true).contains("\u{1b}["), "no colour where it was asked for");
        assert_eq!(
            serde_json::to_value(&problems).expect("problems serialise"),
            serde_json::json!([{
                "severity": "error", "file": "web.hcl", "line": 2, "column": 2, "path": "fleet.web.mxa",
                "value": "20", "message": "not known", "expected": "max or min",
                "help": "did you mean `max`?",
            }])
        );
    }

    #[test]
    fn problems_are_in_the_order_of_files_and_positions() {
        let mut problems = Problems::default();
        for (order, at) in [(1, 2), (0, 4), (1, 0), (0, 0)] {
            problems.push(Problem::warning(&place("abcdef", at..at + 1, order), "", format!("{order}.{at}")));
        }
        let order: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(order, ["0.0", "0.4", "1.0", "1.2"]);
        assert!(!problems.has_errors());
    }

    #[test]
    fn endless_problems_are_cut() {
        let mut problems = Problems::default();
        let here = place("x", 0..1, 0);
        (0..KEPT + 7).for_each(|_| problems.push(Problem::warning(&here, "", "odd")));
        problems.push(Problem::error(&here, "", "wrong"));
        assert_eq!((problems.len(), problems.is_cut()), (KEPT + 1, true));
        assert!(problems.has_errors(), "warnings crowded out an error");
        assert!(problems.render(false).ends_with("… and more\n"));
    }

    #[test]
    fn who_calls_with_which_password_is_shown_nowhere() {
        for (text, shown) in [
            ("http://bob:hunter2@prometheus:9090/x", "http://***@prometheus:9090/x"),
            ("address = \"bob:hunter2@x\" # @", "address = \"***@x\" # @"),
            ("\"http://a:b/c@d@x\" \"http://:p@y", "\"http://***@x\" \"http://***@y"),
            ("ops@example.com http://x:1/ a: @", "ops@example.com http://x:1/ a: @"),
            ("", ""),
        ] {
            assert_eq!(mask(text, 0..0).0, shown);
            assert_eq!(shorten(text), shown);
        }
        let line = "a = \"http://b\u{f6}b:hunter2@x\" # y";
        for (part, shown) in [
            ("a", "a"),
            ("\"http://b\u{f6}b:hunter2@x\"", "\"http://***@x\""),
            ("hunter", "***"),
            ("2@", "***@"),
            ("y", "y"),
        ] {
            let at = line.find(part).expect("a part of it");
            let (masked, range) = mask(line, at..at + part.len());
            assert_eq!(&masked[range], shown, "{part}");
        }
        let problem = Problem::error(&place(line, 4..line.len() - 4, 0), "a", "is odd").value(&line[4..]);
        let shown = problem.render(&Renderer::plain()) + &serde_json::to_string(&problem).expect("JSON");
        assert!(!shown.contains("hunter") && !shown.contains("b\u{f6}b"), "{shown}");
    }

    #[test]
    fn a_file_as_a_whole_has_no_line() {
        let mut problems = Problems::default();
        problems.push(Problem::error(&place("a = 1", 2..3, 0), "a", "odd"));
        problems.push(Problem::of_file("gone.hcl", 0, "No such file"));
        assert_eq!(problems.to_string(), "gone.hcl: No such file\nweb.hcl:1:3: a: odd");
        let shown = problems.render(false);
        assert!(shown.starts_with("error: No such file\n--> gone.hcl\n"), "{shown}");
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shorten("[\n  1,\n  2\n]"), "[ 1, 2 ]");
        assert_eq!(shorten(&"ä".repeat(100)).chars().count(), SHOWN_VALUE + 1);
    }
}
