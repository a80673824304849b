//! What is wrong with a file: facts for programs, text with carets for people.

use crate::Place;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// Problems beyond so many errors (and as many warnings) are dropped: nobody reads them all, and a file of
/// garbage must not take long or fill the memory.
const KEPT: usize = 200;

/// Values are shown up to this length.
const SHOWN_VALUE: usize = 80;

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
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
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
        Self {
            severity,
            file: place.file().to_owned(),
            line: place.line(),
            column: place.column(),
            path: path.to_owned(),
            value: None,
            message: message.into(),
            expected: None,
            help: None,
            caret: Caret { order: (place.source.order, place.span.start), text: text.to_owned(), range },
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
        let line = Snippet::source(self.caret.text.as_str())
            .line_start(self.line)
            .path(self.file.as_str())
            .annotation(AnnotationKind::Primary.span(self.caret.range.clone()));
        let mut group = level.primary_title(title).element(line);
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
    let mut line = value.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = line.char_indices().nth(SHOWN_VALUE) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

impl fmt::Display for Problem {
    /// One line: `FILE:LINE:COLUMN: path: what is wrong`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity: _, file, line, column, path, value: _, message, expected, help: _, caret: _ } =
            self;
        write!(f, "{file}:{line}:{column}: ")?;
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
    fn long_values_are_cut() {
        assert_eq!(shorten("[\n  1,\n  2\n]"), "[ 1, 2 ]");
        assert_eq!(shorten(&"ä".repeat(100)).chars().count(), SHOWN_VALUE + 1);
    }
}
