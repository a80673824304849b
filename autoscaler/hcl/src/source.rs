//! A file's text, and where in it things are.

use std::ops::Range;
use std::sync::Arc;

/// A file's contents, and the name that its problems are shown under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The name, as the operator gave it.
    pub name: String,
    /// The contents.
    pub text: String,
}

impl File {
    /// A file of this name with these contents.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// A file's text with an index of its lines; shared by every [`Place`] in it.
#[derive(Debug)]
pub(crate) struct SourceText {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Which of the files that were read together: problems are shown in this order.
    pub(crate) order: usize,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
}

impl SourceText {
    pub(crate) fn new(file: &File, order: usize) -> Self {
        // Editors on Windows may begin a file with a byte order mark, which says nothing in UTF-8.
        let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text).to_owned();
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { name: file.name.clone(), text, order, lines }
    }

    /// The line of an offset, from 0.
    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The bytes of a line (from 0) without its end.
    pub(crate) fn line_range(&self, line: usize) -> Range<usize> {
        let start = self.lines.get(line).copied().unwrap_or(self.text.len());
        let end = self.lines.get(line + 1).copied().unwrap_or(self.text.len());
        start..start + self.text[start..end].trim_end_matches(['\n', '\r']).len()
    }
    /// The bytes of the line that an offset lies in, without its end.
    pub(crate) fn line_around(&self, offset: usize) -> Range<usize> {
        self.line_range(self.line_of(offset))
    }
}

/// A piece of a file: what a problem points at.
#[derive(Clone, Debug)]
pub struct Place {
    pub(crate) source: Arc<SourceText>,
    pub(crate) span: Range<usize>,
}

impl Place {
    /// Takes a span and moves its ends to where characters begin, inside the text.
    pub(crate) fn new(source: &Arc<SourceText>, span: Range<usize>) -> Self {
        let text = &source.text;
        let start = text.floor_char_boundary(span.start);
        let end = text.ceil_char_boundary(span.end.max(start));
        Self { source: Arc::clone(source), span: start..end }
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.source.name
    }
    /// The line that it begins in, from 1.
    pub fn line(&self) -> usize {
        self.source.line_of(self.span.start) + 1
    }
    /// The column that it begins at, in characters, from 1.
    pub fn column(&self) -> usize {
        let line = self.source.line_around(self.span.start);
        self.source.text[line.start..self.span.start].chars().count() + 1
    }
    /// The text itself.
    pub fn text(&self) -> &str {
        &self.source.text[self.span.clone()]
    }
    /// The line that it begins in, and the part of that line which it covers.
    pub(crate) fn line_and_caret(&self) -> (&str, Range<usize>) {
        let line = self.source.line_around(self.span.start);
        let start = self.span.start.min(line.end) - line.start;
        let end = self.span.end.min(line.end).saturating_sub(line.start).max(start);
        (&self.source.text[line], start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, span: Range<usize>, line: usize, column: usize, caret: &str) {
        let source = Arc::new(SourceText::new(&File::new("f", text), 0));
        let place = Place::new(&source, span);
        assert_eq!((place.line(), place.column()), (line, column), "{text:?}");
        let (line, range) = place.line_and_caret();
        assert_eq!(&line[range], caret, "{text:?}");
    }

    #[test]
    fn places_are_counted_in_lines_and_characters() {
        check("a = 1\nbc = 2\n", 6..8, 2, 1, "bc");
        check("ä = 1\r\nbc = 2\r\n", 5..6, 1, 5, "1");
        check("a = [\n1,\n]\n", 4..10, 1, 5, "[");
        check("a = 1\n", 5..6, 1, 6, "");
        check("a = 1\n", 6..6, 2, 1, "");
        check("", 0..0, 1, 1, "");
        check("\u{feff}a = 1", 0..1, 1, 1, "a");
        check("ä", 1..1, 1, 1, "ä");
    }

    #[test]
    fn places_outside_the_text_are_at_its_end() {
        check("ab", 7..9, 1, 3, "");
    }
}
