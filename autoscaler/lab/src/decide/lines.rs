//! Lines of bounded length.

use std::io::{self, BufRead, Read};

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'b> {
    /// A line, without its newline. The last one may do without.
    Whole(&'b [u8]),
    /// A line that was longer than allowed; it was skipped.
    TooLong,
    /// Nothing any more.
    End,
}

/// Reads lines into one buffer, and never more of a line than is allowed.
pub(super) struct Lines<R> {
    input: R,
    longest: usize,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// * `longest`: in bytes, the newline not counted.
    pub fn new(input: R, longest: usize) -> Self {
        Self { input, longest, buffer: Vec::with_capacity(8192) }
    }

    /// The next line.
    pub fn next(&mut self) -> io::Result<Line<'_>> {
        if !self.read_piece()? {
            let over = self.buffer.len() > self.longest;
            if !over && self.buffer.is_empty() {
                return Ok(Line::End);
            }
            if over {
                while !self.read_piece()? && !self.buffer.is_empty() {}
                return Ok(Line::TooLong);
            }
        }
        Ok(Line::Whole(self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer)))
    }

    /// Reads up to the next newline, and at most one byte more than a line may have before it.
    ///
    /// * returns: whether the newline was met.
    fn read_piece(&mut self) -> io::Result<bool> {
        self.buffer.clear();
        let most = u64::try_from(self.longest).unwrap_or(u64::MAX).saturating_add(1);
        self.input.by_ref().take(most).read_until(b'\n', &mut self.buffer)?;
        Ok(self.buffer.ends_with(b"\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, longest: usize) -> Vec<String> {
        let mut lines = Lines::new(text.as_bytes(), longest);
        let mut shown = Vec::new();
        loop {
            shown.push(match lines.next().expect("memory can be read") {
                Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                Line::TooLong => "(too long)".to_owned(),
                Line::End => return shown,
            });
        }
    }

    #[test]
    fn lines_are_read_with_and_without_a_newline_at_the_end() {
        assert_eq!(read("a\n\nbc\n", 9), ["a", "", "bc"]);
        assert_eq!(read("a\nbc", 9), ["a", "bc"]);
        assert!(read("", 9).is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_to_its_end_and_no_further() {
        assert_eq!(read("abc\nabcd\nabcdefghijk\nab\n", 3), ["abc", "(too long)", "(too long)", "ab"]);
        assert_eq!(read("abcd", 3), ["(too long)"]);
        assert_eq!(read("abcdefgh\nx", 3), ["(too long)", "x"]);
    }
}
