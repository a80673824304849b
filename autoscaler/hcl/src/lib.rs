//! Reading HCL so that an operator learns everything that is wrong at once.
//!
//! A block is described by a [`Table`]: its attributes with type, range, documentation and the way to the value,
//! and its blocks. [`read`] decodes a file by it and collects every [`Problem`] with its place, dotted path,
//! value, what would be right and the nearest known name; [`TableDoc`] renders the reference and an example
//! file; [`Table::settings`] lists the values that hold. What the table cannot say (rules between fields) is
//! checked by the caller, who finds the places of values by path in [`Places`].
//!
//! Pure, and safe with any text: sizes and nesting are bounded, nothing panics.
//!
//! ```
//! use muster_hcl::{Field, File, Problems, Table, read};
//!
//! struct Server { port: u32 }
//! static SERVER: Table<Server> = Table {
//!     fields: &[Field::whole("port", "Where it listens.", (1, 65535), |s| Some(s.port), |s, v| s.port = v)],
//!     blocks: &[],
//! };
//! let mut server = Server { port: 7575 };
//! let mut problems = Problems::default();
//! read(&File::new("server.hcl", "port = 70000\n"), 0, &SERVER, &mut server, &mut problems);
//! assert_eq!(server.port, 7575);
//! assert_eq!(
//!     problems.to_string(),
//!     "server.hcl:1:8: port: 70000 is too large; expected a whole number from 1 to 65535"
//! );
//! ```

mod blocks;
mod decode;
mod document;
mod literal;
mod parse;
mod problem;
mod scan;
mod source;
mod suggest;
mod syntax;
mod table;
mod values;

pub use blocks::{Repeated, Section};
pub use decode::{Label, Nested, Occurrence, Places, Reader, read, read_over};
pub use document::{BlockDoc, FieldDoc, Setting, TableDoc};
pub use problem::{Problem, Problems, Severity};
pub use source::{File, Place};
pub use suggest::nearest;
pub use table::{Field, Table, Wrong, duration_text, quoted, share_text};
