//! What a table says, for people: the reference documentation, an example file, and the effective values.

use crate::decode::Label;
use crate::table::Table;
use std::fmt::Write as _;

/// A table in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDoc {
    /// Its attributes.
    pub fields: Vec<FieldDoc>,
    /// Its blocks.
    pub blocks: Vec<BlockDoc>,
}

/// An attribute in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDoc {
    /// Its name.
    pub name: &'static str,
    /// What it takes, such as "a whole number from 1 to 10".
    pub takes: String,
    /// Its default as HCL; `None` where nothing is set.
    pub default: Option<String>,
    /// What it means that nothing is set.
    pub unset: &'static str,
    /// Whether a file must give it.
    pub required: bool,
    /// What it is for.
    pub docs: &'static str,
    /// A value to show, as HCL, where there is no default.
    pub example: Option<&'static str>,
    /// Whether an example file gives that value, though none is required.
    pub live: bool,
}

/// A block in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockDoc {
    /// Its name.
    pub name: &'static str,
    /// How it is labelled.
    pub label: Label,
    /// A label to show.
    pub example: Option<&'static str>,
    /// What it is for.
    pub docs: &'static str,
    /// Whether it holds without being written down, or is worth showing.
    pub present: bool,
    /// What it holds.
    pub table: TableDoc,
}

/// One effective value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its dotted path.
    pub path: String,
    /// The value as HCL, or in words where nothing is set.
    pub value: String,
}

impl<T> Table<T> {
    /// Every value that holds, in the order of the documentation.
    ///
    /// * `prefix`: what the paths begin with: empty, or ending in a dot.
    pub fn settings(&self, value: &T, prefix: &str, out: &mut Vec<Setting>) {
        for field in self.fields {
            let shown = field.shown(value).unwrap_or_else(|| field.unset.to_owned());
            out.push(Setting { path: format!("{prefix}{}", field.name), value: shown });
        }
        self.blocks.iter().for_each(|block| block.settings(value, prefix, out));
    }
}

impl TableDoc {
    /// Describes a table; `value` holds the defaults.
    pub fn of<T>(table: &Table<T>, value: &T) -> Self {
        let fields = table.fields.iter().map(|field| FieldDoc {
            name: field.name,
            takes: field.kind.expected(),
            default: field.shown(value),
            unset: field.unset,
            required: field.required,
            docs: field.docs,
            example: field.example,
            live: field.live,
        });
        let blocks = table.blocks.iter().map(|block| block.describe(value));
        Self { fields: fields.collect(), blocks: blocks.collect() }
    }

    /// The reference: a section for each block, a table of its attributes in each.
    ///
    /// * `level`: of the headings, 2 for `##`.
    pub fn markdown(&self, level: usize) -> String {
        let mut out = String::new();
        self.write_fields(&mut out);
        for block in &self.blocks {
            block.write_markdown(&mut out, level, "");
        }
        out
    }

    /// A file that says every default, each with its documentation; what has no default is shown behind `#`,
    /// unless a file must give it or the table says to.
    pub fn example(&self) -> String {
        let mut lines = Vec::new();
        self.write_example(&mut lines, 0);
        lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    fn write_fields(&self, out: &mut String) {
        if self.fields.is_empty() {
            return;
        }
        out.push_str("| attribute | takes | default | meaning |\n|---|---|---|---|\n");
        for field in &self.fields {
            let FieldDoc { name, takes, default, unset, required, docs, example: _, live: _ } = field;
            let default = match default {
                _ if *required => "**required**".to_owned(),
                Some(default) => format!("`{default}`"),
                None => (*unset).to_owned(),
            };
            // Writing to a `String` cannot fail.
            let _ = writeln!(out, "| `{name}` | {} | {} | {} |", cell(takes), cell(&default), cell(docs));
        }
        out.push('\n');
    }

    fn write_example(&self, out: &mut Vec<String>, depth: usize) {
        let indent = "  ".repeat(depth);
        for (count, field) in self.fields.iter().enumerate() {
            if count > 0 {
                out.push(String::new());
            }
            let unset = if field.default.is_none() && !field.unset.is_empty() {
                format!(" Unset: {}.", field.unset)
            } else {
                String::new()
            };
            wrap(&format!("{}{unset} Takes {}.", field.docs, field.takes), &indent, out);
            let (comment, value) = match (&field.default, field.example) {
                (_, Some(example)) if field.required || field.live => ("", example),
                (Some(default), _) => ("", default.as_str()),
                (None, example) => ("# ", example.unwrap_or("…")),
            };
            out.push(format!("{indent}{comment}{} = {value}", field.name));
        }
        for (count, block) in self.blocks.iter().enumerate() {
            if count > 0 || !self.fields.is_empty() {
                out.push(String::new());
            }
            let mut lines = Vec::new();
            let label = block.example.map(|label| format!(" \"{label}\"")).unwrap_or_default();
            lines.push(format!("{indent}{}{label} {{", block.name));
            block.table.write_example(&mut lines, depth + 1);
            lines.push(format!("{indent}}}"));
            if lines.len() == 2 {
                lines = vec![format!("{indent}{}{label} {{}}", block.name)];
            }
            wrap(block.docs, &indent, out);
            // What does not hold by itself is shown as a comment.
            let comment = |line: String| match line.strip_prefix(indent.as_str()) {
                _ if block.present => line,
                Some(rest) => format!("{indent}# {rest}"),
                None => format!("{indent}#{line}"),
            };
            out.extend(lines.into_iter().map(comment));
        }
    }
}

impl BlockDoc {
    fn write_markdown(&self, out: &mut String, level: usize, parent: &str) {
        let label = match self.label {
            Label::None => String::new(),
            Label::Fixed(word) => format!(" \"{word}\""),
            Label::Free { .. } => " \"NAME\"".to_owned(),
        };
        let path = format!("{parent}{}{label}", self.name);
        let hashes = "#".repeat(level);
        let _ = write!(out, "{hashes} `{path}`\n\n{}\n\n", self.docs);
        if let Label::Free { what } = self.label {
            let _ = write!(out, "`NAME` is {what}.\n\n");
        }
        self.table.write_fields(out);
        for block in &self.table.blocks {
            // Deeper headings would only get smaller; the path says where a block belongs.
            block.write_markdown(out, (level + 1).min(3), &format!("{path} > "));
        }
    }
}

/// Text that cannot end a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Adds a comment, wrapped to a hundred columns.
fn wrap(text: &str, indent: &str, out: &mut Vec<String>) {
    let mut line = format!("{indent}#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 100 {
            out.push(std::mem::replace(&mut line, format!("{indent}#")));
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push(line);
}
