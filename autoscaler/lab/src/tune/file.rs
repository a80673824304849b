//! The policy file with what was chosen: the operator's own file, changed in as few places as possible.

use super::knobs::{Knob, Knobs};
use autoscaler_policy::File;
use hcl_edit::Span as _;
use hcl_edit::parser::parse_body;
use hcl_edit::structure::{Block, Body};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

/// Why a file could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is not HCL.
    #[error("{file} is not HCL")]
    Syntax {
        /// Its name.
        file: String,
    },
    /// There is no such fleet in it.
    #[error("{file} has no fleet {fleet:?}")]
    NoFleet {
        /// Its name.
        file: String,
        /// The fleet.
        fleet: String,
    },
    /// It is written in a way that could not be followed.
    #[error("{file} is written in a way that could not be changed; set by hand: {by_hand}")]
    Odd {
        /// Its name.
        file: String,
        /// What should stand in it.
        by_hand: String,
    },
}

/// The file of a fleet with other knobs. Everything else stays as it is, comments and blanks included.
///
/// * `file`: its name and its text.
/// * `from`, `to`: the knobs as they are, and as they should be; what is the same in both is not touched.
/// * `why`: stands above the fleet as a comment.
/// * returns: a text that has been read back, and means `to`.
pub fn edited(file: &File, fleet: &str, from: &Knobs, to: &Knobs, why: &str) -> Result<String, FileError> {
    let text = file.text.as_str();
    let name = || file.name.clone();
    let body = parse_body(text).map_err(|_| FileError::Syntax { file: name() })?;
    let block = find(&body, "fleet", Some(fleet))
        .ok_or_else(|| FileError::NoFleet { file: name(), fleet: fleet.to_owned() })?;
    let knobs = to.beyond(from);
    let odd = || FileError::Odd { file: name(), by_hand: listed(&knobs) };
    let edits = Edits::of(text, block, &knobs, why).ok_or_else(odd)?;
    let edited = edits.apply(text);
    if means(&edited, fleet) == Some(*to) { Ok(edited) } else { Err(odd()) }
}

/// A policy file of its own, for somebody who has none yet.
///
/// * `to`: the knobs; what is as in `from`, the defaults, is not said.
pub fn fresh(from: &Knobs, to: &Knobs, why: &str) -> String {
    let mut text = commented(why, "");
    text.push_str("fleet \"web\" {\n  # Yours: the fleet's id, and its name above.\n");
    text.push_str("  id = \"sfr-00000000-0000-0000-0000-000000000000\"\n");
    for (block, knobs) in by_block(&to.beyond(from)) {
        text.push_str(&whole(block, &knobs));
    }
    text.push_str("}\n");
    text
}

fn listed(knobs: &[Knob]) -> String {
    let all: Vec<String> = knobs.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// What a text says of a fleet, read as the daemon would.
fn means(text: &str, fleet: &str) -> Option<Knobs> {
    let set = autoscaler_policy::load(&[File::new("tuned.hcl", text)]).ok()?;
    let policy = set.fleets.iter().find(|policy| policy.name.as_str() == fleet)?;
    Some(Knobs::of(&policy.base))
}

/// The block of a name, and where one is asked for, of a label.
fn find<'b>(body: &'b Body, ident: &'b str, label: Option<&str>) -> Option<&'b Block> {
    body.get_blocks(ident).find(|block| match label {
        Some(label) => block.labels.len() == 1 && block.labels[0].as_str() == label,
        None => true,
    })
}

/// Knobs by their block, in the order in which they came.
fn by_block(knobs: &[Knob]) -> BTreeMap<&'static str, Vec<&Knob>> {
    let mut blocks: BTreeMap<&'static str, Vec<&Knob>> = BTreeMap::new();
    for knob in knobs {
        blocks.entry(knob.block).or_default().push(knob);
    }
    blocks
}

/// A block that was not there.
fn whole(block: &str, knobs: &[&Knob]) -> String {
    let lines: Vec<String> = knobs.iter().filter_map(|knob| line(knob)).collect();
    if lines.is_empty() { String::new() } else { format!("\n  {block} {{\n{}  }}\n", lines.concat()) }
}

/// An attribute that was not there; `None` where it need not be there.
fn line(knob: &Knob) -> Option<String> {
    knob.value.as_ref().map(|value| format!("    {} = {value}\n", knob.attribute))
}

/// A text as a comment, each line indented.
fn commented(why: &str, indent: &str) -> String {
    let mut text = String::new();
    for line in why.lines() {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{indent}{}", format!("# {line}").trim_end());
    }
    text
}

/// Places of a text, and what shall stand there instead.
#[derive(Debug, Default)]
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// What has to be changed; `None` where a place cannot be found.
    fn of(text: &str, fleet: &Block, knobs: &[Knob], why: &str) -> Option<Self> {
        let mut edits = Self::default();
        let span = fleet.span()?;
        edits.insert(line_start(text, span.start), commented(why, ""));
        let mut new = String::new();
        for (name, knobs) in by_block(knobs) {
            match find(&fleet.body, name, None) {
                None => new += &whole(name, &knobs),
                Some(block) => edits.within(text, block, &knobs)?,
            }
        }
        if !new.is_empty() {
            edits.before_end(text, &span, &new);
        }
        Some(edits)
    }

    fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.0.push((at..at, text.into()));
    }

    /// Changes attributes of a block, adds and removes them.
    fn within(&mut self, text: &str, block: &Block, knobs: &[&Knob]) -> Option<()> {
        let mut new = String::new();
        for knob in knobs {
            match (block.body.get_attribute(knob.attribute), &knob.value) {
                (Some(attribute), Some(value)) => self.0.push((attribute.value.span()?, value.clone())),
                (Some(attribute), None) => self.0.push((whole_lines(text, attribute.span()?), String::new())),
                (None, _) => new.extend(line(knob)),
            }
        }
        if !new.is_empty() {
            self.before_end(text, &block.span()?, &new);
        }
        Some(())
    }

    /// Adds lines before the brace that ends a block, on lines of their own even where the block was on one.
    fn before_end(&mut self, text: &str, span: &Range<usize>, lines: &str) {
        let brace = span.start + text[span.clone()].rfind('}').unwrap_or(0);
        let start = line_start(text, brace);
        if text[start..brace].trim().is_empty() {
            self.insert(start, lines);
            return;
        }
        let indent: String = text[start..].chars().take_while(|c| *c == ' ').collect();
        // A block on one line holds one attribute and nothing else: it gets a line of its own.
        if let Some(open) = text[span.clone()].find('{') {
            let open = span.start + open + 1;
            let blanks = text[open..brace].len() - text[open..brace].trim_start().len();
            self.0.push((open..open + blanks, format!("\n{indent}  ")));
        }
        let end = span.start + text[span.start..brace].trim_end().len();
        self.0.push((end..brace, format!("\n{}{indent}", lines.trim_start_matches('\n'))));
    }

    /// The text with everything changed.
    fn apply(mut self, text: &str) -> String {
        self.0.sort_by_key(|(place, _)| (place.start, place.end));
        let mut edited = String::new();
        let mut at = 0;
        for (place, new) in self.0 {
            edited.push_str(&text[at..place.start.max(at)]);
            edited.push_str(&new);
            at = place.end.max(at);
        }
        edited.push_str(&text[at..]);
        edited
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The lines that a place lies on, with their ends, where nothing else but a comment is on them.
fn whole_lines(text: &str, place: Range<usize>) -> Range<usize> {
    let start = line_start(text, place.start);
    let end = text[place.end..].find('\n').map_or(text.len(), |newline| place.end + newline + 1);
    let after = text[place.end..end].trim();
    let alone = text[start..place.start].trim().is_empty()
        && (after.is_empty() || after.starts_with('#') || after.starts_with("//"));
    if alone { start..end } else { place }
}
