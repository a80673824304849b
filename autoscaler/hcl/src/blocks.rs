//! The two kinds of blocks: those that stand once, and those that repeat under labels.

use crate::Problem;
use crate::decode::{Label, Nested, Occurrence, Reader};
use crate::document::{BlockDoc, Setting, TableDoc};
use crate::table::{Table, Wrong, quoted};

/// A block that stands at most once in its parent, or once with this label.
pub struct Section<T: 'static, C: 'static> {
    /// Its name.
    pub name: &'static str,
    /// Its label, where blocks of one name differ by a word: `source "push"`.
    pub label: Option<&'static str>,
    /// What it is for.
    pub docs: &'static str,
    /// What it holds.
    pub table: &'static Table<C>,
    /// The value that it is read from; `None` where the parent has none.
    pub get: fn(&T) -> Option<&C>,
    /// The value that it is read into, made where the parent had none; called once when the block begins.
    pub open: fn(&mut T) -> &mut C,
    /// The defaults that the documentation shows.
    pub default: fn() -> C,
}

/// A block that repeats, each under a label of its own.
pub struct Repeated<T: 'static, C: 'static> {
    /// Its name.
    pub name: &'static str,
    /// What the label is, with the rule for it: completes "where … is".
    pub label: &'static str,
    /// The rule for labels.
    pub check: fn(&str) -> Result<(), Wrong>,
    /// A label to show.
    pub example: &'static str,
    /// What it is for.
    pub docs: &'static str,
    /// What it holds.
    pub table: &'static Table<C>,
    /// A value of defaults under this label.
    pub new: fn(&str) -> C,
    /// Adds a value that was read to the parent.
    pub push: fn(&mut T, C),
    /// The parent's values, in order.
    pub items: fn(&T) -> &[C],
    /// The label of a value.
    pub label_of: fn(&C) -> &str,
}

impl<T, C> Nested<T> for Section<T, C> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn label(&self) -> Label {
        self.label.map_or(Label::None, Label::Fixed)
    }
    fn read(&self, reader: &mut Reader<'_>, block: Occurrence<'_>, into: &mut T) {
        reader.body(&block.block.body, &block.path, self.table, (self.open)(into));
    }
    fn describe(&self, parent: &T) -> BlockDoc {
        let present = (self.get)(parent);
        BlockDoc {
            name: self.name,
            label: self.label(),
            example: self.label,
            docs: self.docs,
            present: present.is_some(),
            table: present.map_or_else(
                || TableDoc::of(self.table, &(self.default)()),
                |value| TableDoc::of(self.table, value),
            ),
        }
    }
    fn settings(&self, parent: &T, prefix: &str, out: &mut Vec<Setting>) {
        if let Some(value) = (self.get)(parent) {
            let label = self.label.map(|label| format!(".{label}")).unwrap_or_default();
            self.table.settings(value, &format!("{prefix}{}{label}.", self.name), out);
        }
    }
}

impl<T, C> Nested<T> for Repeated<T, C> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn label(&self) -> Label {
        Label::Free { what: self.label }
    }
    fn read(&self, reader: &mut Reader<'_>, block: Occurrence<'_>, into: &mut T) {
        if let Err(wrong) = (self.check)(block.label) {
            let place = reader.place(block.label_span.clone());
            let message = format!("{} {}", quoted(block.label), wrong.what);
            let expected = if wrong.expected.is_empty() { self.label.to_owned() } else { wrong.expected };
            let problem = Problem::error(&place, &block.path, message).value(block.label);
            reader.fault(&block.path, problem.expected(expected).help(wrong.help));
        }
        let mut value = (self.new)(block.label);
        reader.body(&block.block.body, &block.path, self.table, &mut value);
        (self.push)(into, value);
    }
    fn describe(&self, _parent: &T) -> BlockDoc {
        BlockDoc {
            name: self.name,
            label: self.label(),
            example: Some(self.example),
            docs: self.docs,
            present: true,
            table: TableDoc::of(self.table, &(self.new)(self.example)),
        }
    }
    fn settings(&self, parent: &T, prefix: &str, out: &mut Vec<Setting>) {
        for value in (self.items)(parent) {
            self.table.settings(value, &format!("{prefix}{}.{}.", self.name, (self.label_of)(value)), out);
        }
    }
}
