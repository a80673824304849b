//! From text to HCL's tree, going on behind faulty statements so that one slip does not hide the others.

use crate::scan::{Fault, Scan, scan};
use crate::source::SourceText;
use crate::{Place, Problem, Problems};
use hcl_edit::Span as _;
use hcl_edit::parser::parse_body;
use hcl_edit::structure::{Block, BlockLabel, Body};
use std::ops::Range;
use std::sync::Arc;

/// Files larger than this are not read: a policy of a thousand fleets has a tenth of it.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Faulty statements that are stepped over; each costs another parse of the text.
const STEPPED_OVER: usize = 20;

/// A file's tree.
pub(crate) struct Parsed {
    pub(crate) body: Body,
    /// Set where statements were left out: what seems to be missing may be among them.
    pub(crate) partial: bool,
}

/// Parses a file and reports what is wrong with its syntax.
///
/// * returns: `None` where nothing can be said of the contents.
pub(crate) fn parse(source: &Arc<SourceText>, problems: &mut Problems) -> Option<Parsed> {
    let text = &source.text;
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes", text.len());
        let problem = Problem::error(&Place::new(source, 0..0), "", message);
        problems.push(
            problem.expected(format!("at most {MAX_BYTES} bytes; fleets may be spread over several files")),
        );
        return None;
    }
    let mut scan = scan(text);
    let mut faults = std::mem::take(&mut scan.faults);
    let body = if scan.broken { None } else { parse_around(source, &scan, &mut faults) };
    let duplicates = body.as_ref().map(|(_, duplicates)| duplicates.as_slice()).unwrap_or_default();
    let tree = body.as_ref().map(|(body, _)| body);
    for fault in &faults {
        let path = tree.map(|body| path_at(body, fault.span.start)).unwrap_or_default();
        let problem = Problem::error(&Place::new(source, fault.span.clone()), &path, fault.message.as_str());
        problems.push(problem.expected(fault.expected.as_str()));
    }
    for span in duplicates {
        problems.push(duplicate(source, tree, span));
    }
    let partial = !faults.is_empty() || !duplicates.is_empty();
    body.map(|(body, _)| Parsed { body, partial })
}

/// Parses with the faulty statements blanked out, which keeps every offset as it is.
///
/// * `faults`: those that are known; what parsing finds is added.
/// * returns: the tree, and the keys that stand in a block a second time; `None` where blanking did not help.
fn parse_around(
    source: &SourceText,
    scan: &Scan,
    faults: &mut Vec<Fault>,
) -> Option<(Body, Vec<Range<usize>>)> {
    let mut text = source.text.clone();
    let mut duplicates = Vec::new();
    for fault in faults.iter() {
        blank(&mut text, source, scan, fault.span.start);
    }
    for _ in 0..STEPPED_OVER {
        let error = match parse_body(&text) {
            Ok(body) => return Some((body, duplicates)),
            Err(error) => error,
        };
        let at = error.location().offset();
        if error.message().contains("found redefined attribute") {
            let rest = &text[at..];
            let key =
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
            duplicates.push(at..at + key);
        } else {
            faults.push(crate::syntax::explain(&source.text, at, error.message()));
        }
        let mut changed = blank(&mut text, source, scan, at);
        if let Some(brace) = crate::syntax::brace_on_next_line(&source.text, at, error.message()) {
            changed |= blank(&mut text, source, scan, brace);
        }
        if !changed {
            return None;
        }
    }
    None
}

/// Blanks the line of an offset, and with it the lines of what is opened in it; brackets that close something
/// from before stay.
///
/// * returns: whether that changed anything.
fn blank(text: &mut String, source: &SourceText, scan: &Scan, offset: usize) -> bool {
    let first = source.line_around(offset);
    let inside = |at: usize| first.contains(&at);
    let end = scan
        .pairs
        .iter()
        .filter(|(open, close)| inside(*open) && *close >= first.end)
        .map(|(_, close)| *close);
    let end = end.max().map_or(first.end, |close| source.line_around(close).end);
    let kept: Vec<usize> = scan
        .pairs
        .iter()
        .filter(|(open, close)| *open < first.start && (first.start..end).contains(close))
        .map(|(_, close)| *close)
        .collect();
    let mut changed = false;
    let blanked: Vec<u8> = text
        .bytes()
        .enumerate()
        .map(|(at, byte)| {
            let keep = !(first.start..end).contains(&at) || byte.is_ascii_whitespace() || kept.contains(&at);
            changed |= !keep;
            if keep { byte } else { b' ' }
        })
        .collect();
    // Whole lines are blanked, so no character is cut.
    if let Ok(blanked) = String::from_utf8(blanked) {
        *text = blanked;
    }
    changed
}

fn duplicate(source: &Arc<SourceText>, tree: Option<&Body>, span: &Range<usize>) -> Problem {
    let key = &source.text[span.clone()];
    let block = tree.map(|body| path_at(body, span.start)).unwrap_or_default();
    let path = if block.is_empty() { key.to_owned() } else { format!("{block}.{key}") };
    let first = tree.and_then(|body| body_at(body, span.start).get_attribute(key)?.key.span());
    let problem = Problem::error(&Place::new(source, span.clone()), &path, format!("`{key}` is given twice"));
    let problem = problem.expected("one value");
    match first {
        Some(first) => problem.help(format!("the first is in line {}", Place::new(source, first).line())),
        None => problem,
    }
}

fn block_at(body: &Body, offset: usize) -> Option<&Block> {
    body.blocks().find(|block| block.span().is_some_and(|span| span.contains(&offset)))
}

/// The innermost body that an offset lies in.
fn body_at(body: &Body, offset: usize) -> &Body {
    block_at(body, offset).map_or(body, |block| body_at(&block.body, offset))
}

/// The dotted path of the innermost block that an offset lies in.
fn path_at(body: &Body, offset: usize) -> String {
    let Some(block) = block_at(body, offset) else { return String::new() };
    let inner = path_at(&block.body, offset);
    let mut path = block.ident.as_str().to_owned();
    for part in block.labels.iter().map(BlockLabel::as_str).chain(Some(inner.as_str())) {
        if !part.is_empty() {
            path.push('.');
            path.push_str(part);
        }
    }
    path
}
