//! From HCL's tree to values, by the tables.

use crate::document::{BlockDoc, Setting};
use crate::source::SourceText;
use crate::suggest::one_of;
use crate::table::Table;
use crate::{File, Place, Problem, Problems, Severity, nearest};
use hcl_edit::Span as _;
use hcl_edit::structure::{Attribute, Block, BlockLabel, Body, Structure};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Reads a file into `value` by a table.
///
/// * `order`: which of the files that are read together this is; problems are shown in this order.
/// * `value`: what holds the defaults; what the file gives correctly is set in it, the rest stays.
/// * `problems`: what is wrong is added.
/// * returns: where the file says what. With an error among the problems, `value` must not be used for more
///   than finding further problems.
///
/// Never panics, whatever the text. At most 1 MiB, nested at most 32 deep.
pub fn read<T>(
    file: &File,
    order: usize,
    table: &Table<T>,
    value: &mut T,
    problems: &mut Problems,
) -> Places {
    read_file(file, order, table, value, problems, true)
}

/// Reads a file over what others have said into `value` before: as [`read`], but what a block must give may stand in
/// any of them, and is the caller's to look for when all are read.
pub fn read_over<T>(
    file: &File,
    order: usize,
    table: &Table<T>,
    value: &mut T,
    problems: &mut Problems,
) -> Places {
    read_file(file, order, table, value, problems, false)
}

fn read_file<T>(
    file: &File,
    order: usize,
    table: &Table<T>,
    value: &mut T,
    problems: &mut Problems,
    whole: bool,
) -> Places {
    let source = Arc::new(SourceText::new(file, order));
    let mut reader = Reader { places: Places::of(&source), problems, source, whole };
    if let Some(parsed) = crate::parse::parse(&reader.source, reader.problems) {
        reader.places.partial = parsed.partial;
        reader.body(&parsed.body, "", table, value);
    } else {
        reader.places.partial = true;
    }
    reader.places
}

/// Where a file says what, by dotted path.
#[derive(Clone, Debug)]
pub struct Places {
    file: Place,
    by_path: BTreeMap<String, At>,
    faulty: BTreeSet<String>,
    partial: bool,
}

#[derive(Clone, Debug)]
struct At {
    /// The name of an attribute, the header of a block.
    name: Place,
    /// The value of an attribute, the header of a block.
    value: Place,
}

impl Places {
    fn of(source: &Arc<SourceText>) -> Self {
        let file = Place::new(source, 0..0);
        Self { file, by_path: BTreeMap::new(), faulty: BTreeSet::new(), partial: false }
    }
    /// Whether the file says this.
    pub fn given(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }
    /// The paths that the file says, blocks included, in the order of their names.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.by_path.iter().map(|(path, at)| (path.as_str(), &at.value))
    }
    /// Where the value of a path stands: where the file does not say it, the block that it would be in.
    pub fn place(&self, path: &str) -> &Place {
        let mut path = path;
        loop {
            if let Some(at) = self.by_path.get(path) {
                return &at.value;
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return &self.file,
            }
        }
    }
    /// The text of a value as the file has it; `None` where it does not say it, and for a block.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.by_path.get(path).filter(|at| at.name.span != at.value.span).map(|at| at.value.text())
    }
    /// Whether what was read at a path, and within it, is what the file says: a rule about it makes sense.
    ///
    /// Not where a problem was found there, nor (for what the file does not seem to say) where statements had
    /// to be left out.
    pub fn is_sound(&self, path: &str) -> bool {
        let within = |faulty: &String| {
            faulty == path || faulty.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
        };
        !self.faulty.range(path.to_owned()..).take_while(|faulty| faulty.starts_with(path)).any(within)
            && (!self.partial || self.given(path))
    }
    /// A problem of a value, which it names.
    pub fn error(&self, path: &str, message: impl Into<String>) -> Problem {
        self.with_value(path, Problem::error(self.place(path), path, message))
    }
    /// A likely slip in a value, which it names.
    pub fn warning(&self, path: &str, message: impl Into<String>) -> Problem {
        self.with_value(path, Problem::warning(self.place(path), path, message))
    }
    fn with_value(&self, path: &str, problem: Problem) -> Problem {
        match self.text(path) {
            Some(text) => problem.value(text),
            None => problem,
        }
    }
}

/// How a block is told from others of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// It has none.
    None,
    /// One of these words is its label, and each may stand once.
    Fixed(&'static str),
    /// The operator names it.
    Free {
        /// What the label is, with the rule for it: "a name of letters and digits".
        what: &'static str,
    },
}

/// A block that may stand in a block which is read into a `T`: [`crate::Section`] or [`crate::Repeated`].
pub trait Nested<T>: Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// How it is labelled.
    fn label(&self) -> Label;
    /// Reads it into its parent.
    fn read(&self, reader: &mut Reader<'_>, block: Occurrence<'_>, into: &mut T);
    /// Describes it; `parent` holds the defaults.
    fn describe(&self, parent: &T) -> BlockDoc;
    /// Adds its effective values to a list; `prefix` is the parent's path, with a dot unless that is the file.
    fn settings(&self, parent: &T, prefix: &str, out: &mut Vec<Setting>);
}

/// One block of a file that is being read.
pub struct Occurrence<'a> {
    pub(crate) block: &'a Block,
    pub(crate) path: String,
    pub(crate) label: &'a str,
    pub(crate) label_span: Range<usize>,
}

/// Reads one file.
pub struct Reader<'p> {
    pub(crate) source: Arc<SourceText>,
    pub(crate) problems: &'p mut Problems,
    places: Places,
    /// What is required has to be in this file.
    whole: bool,
}

impl Reader<'_> {
    /// Reads the body of a block by its table.
    pub(crate) fn body<T>(&mut self, body: &Body, path: &str, table: &Table<T>, value: &mut T) {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
        for structure in body {
            if self.problems.is_full(Severity::Error) {
                self.problems.cut();
                return;
            }
            match structure {
                Structure::Attribute(attribute) => self.attribute(attribute, &prefix, table, value),
                Structure::Block(block) => self.block(block, &prefix, table, value),
            }
        }
        let whole = self.whole;
        for field in table.fields.iter().filter(|field| field.required && whole) {
            let path = format!("{prefix}{}", field.name);
            if !self.places.given(&path) && self.places.is_sound(&path) {
                let problem = Problem::error(self.places.place(&path), &path, "is missing");
                self.fault(&path, problem.expected(field.kind.expected()));
            }
        }
    }

    /// Records a problem, and that its path is not to be relied upon.
    pub(crate) fn fault(&mut self, path: &str, problem: Problem) {
        self.places.faulty.insert(path.to_owned());
        self.problems.push(problem);
    }

    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        Place::new(&self.source, span)
    }

    fn attribute<T>(&mut self, attribute: &Attribute, prefix: &str, table: &Table<T>, value: &mut T) {
        let name = attribute.key.as_str();
        let path = format!("{prefix}{name}");
        let whole = attribute.span().unwrap_or_default();
        let key = attribute.key.span().unwrap_or_else(|| whole.clone());
        let text = self.place(attribute.value.span().unwrap_or(key.end..whole.end));
        if let Some(field) = table.fields.iter().find(|field| field.name == name) {
            let at = At { name: self.place(key), value: text };
            self.places.by_path.insert(path.clone(), at);
            self.value(field, &attribute.value, &path, value);
            return;
        }
        let place = self.place(key);
        let problem = match table.blocks.iter().find(|block| block.name() == name) {
            Some(block) => {
                let header = match block.label() {
                    Label::None => name.to_owned(),
                    Label::Fixed(word) => format!("{name} \"{word}\""),
                    Label::Free { .. } => format!("{name} \"…\""),
                };
                let message = format!("`{name}` is a block, not an attribute");
                Problem::error(&place, &path, message).expected(format!("`{header} {{ … }}`"))
            }
            None => self.unknown(name, prefix, table, &place),
        };
        self.fault(&path, problem.value(text.text()));
    }

    /// The problem of a name that the table does not have.
    fn unknown<T>(&mut self, name: &str, prefix: &str, table: &Table<T>, place: &Place) -> Problem {
        let mut known: Vec<&'static str> = table.fields.iter().map(|field| field.name).collect();
        known.extend(table.blocks.iter().map(|block| block.name()));
        known.dedup();
        let meant = nearest(name, known.iter().copied());
        if let Some(meant) = meant {
            // What was meant is likely not what the default says.
            self.places.faulty.insert(format!("{prefix}{meant}"));
        }
        let expected = if known.is_empty() { "nothing: it is empty".to_owned() } else { one_of(known) };
        Problem::error(place, &format!("{prefix}{name}"), format!("`{name}` is not known here"))
            .expected(expected)
            .help(meant.map(|meant| format!("did you mean `{meant}`?")))
    }

    fn block<T>(&mut self, block: &Block, prefix: &str, table: &Table<T>, value: &mut T) {
        let name = block.ident.as_str();
        let place = self.place(header_span(block));
        let known: Vec<_> = table.blocks.iter().copied().filter(|known| known.name() == name).collect();
        if known.is_empty() {
            let path = format!("{prefix}{name}");
            let problem = match table.fields.iter().find(|field| field.name == name) {
                Some(field) => {
                    let message = format!("`{name}` is an attribute, not a block");
                    let expected = format!("`{name} = …`, {}", field.kind.expected());
                    Problem::error(&place, &path, message).expected(expected)
                }
                None => self.unknown(name, prefix, table, &place),
            };
            self.fault(&path, problem);
            return;
        }
        let label = block.labels.first().map(BlockLabel::as_str).unwrap_or_default();
        let unlabelled = known.first().is_some_and(|known| known.label() == Label::None);
        let path = if label.is_empty() || unlabelled {
            format!("{prefix}{name}")
        } else {
            format!("{prefix}{name}.{label}")
        };
        let known = match choose(&known, block, &place, &path) {
            Ok(known) => known,
            Err(problem) => return self.fault(&path, *problem),
        };
        if let Some(earlier) = self.places.by_path.get(&path) {
            let help = format!("the first is in line {}", earlier.name.line());
            let message = format!("`{}` is given twice", place.text());
            let problem = Problem::error(&place, &path, message).expected("one such block").help(help);
            return self.fault(&path, problem);
        }
        self.places.by_path.insert(path.clone(), At { name: place.clone(), value: place });
        let label_span = block.labels.first().and_then(label_span).unwrap_or_else(|| header_span(block));
        known.read(self, Occurrence { block, path, label, label_span }, value);
    }
}

/// Finds the one among blocks of the same name that a block's labels mean.
///
/// * `known`: at least one.
fn choose<'k, T>(
    known: &[&'k dyn Nested<T>],
    block: &Block,
    place: &Place,
    path: &str,
) -> Result<&'k dyn Nested<T>, Box<Problem>> {
    let name = block.ident.as_str();
    let words = || {
        known
            .iter()
            .filter_map(|known| if let Label::Fixed(word) = known.label() { Some(word) } else { None })
    };
    let wrong =
        |message: String, expected: String| Box::new(Problem::error(place, path, message).expected(expected));
    for candidate in known {
        let expected = match (candidate.label(), block.labels.as_slice()) {
            (Label::None, []) | (Label::Free { .. }, [_]) => return Ok(*candidate),
            (Label::Fixed(word), [label]) if label.as_str() == word => return Ok(*candidate),
            (Label::Fixed(_), [_]) => continue,
            (Label::None, _) => format!("`{name} {{`"),
            (Label::Fixed(_), _) => format!("`{name} \"…\" {{`, where … is {}", one_of(words())),
            (Label::Free { what }, _) => format!("`{name} \"…\" {{`, where … is {what}"),
        };
        let message = if block.labels.is_empty() { "the label is missing" } else { "too many labels" };
        return Err(wrong(message.to_owned(), expected));
    }
    let label = block.labels.first().map(BlockLabel::as_str).unwrap_or_default();
    let help = nearest(label, words()).map(|meant| format!("did you mean \"{meant}\"?"));
    let problem = wrong(format!("`{label}` is not known here"), one_of(words()));
    Err(Box::new(problem.value(label).help(help)))
}

fn label_span(label: &BlockLabel) -> Option<Range<usize>> {
    match label {
        BlockLabel::Ident(name) => name.span(),
        BlockLabel::String(text) => text.span(),
    }
}

/// The block's name and labels.
fn header_span(block: &Block) -> Range<usize> {
    let whole = block.span().unwrap_or_default();
    let name = block.ident.span().unwrap_or_else(|| whole.clone());
    let end = block.labels.last().and_then(label_span).map_or(name.end, |span| span.end);
    name.start..end
}
