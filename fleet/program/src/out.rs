//! The one place that prints: data on standard output, talk on standard error, colour on terminals alone.

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document.
    Json,
}

/// What standard output and standard error can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Whether data may be coloured.
    pub colour_out: bool,
    /// Whether talk may be coloured.
    pub colour_err: bool,
}

impl Terminal {
    /// Colour where it is a terminal.
    ///
    /// * `plain`: nowhere, because the user said so (`NO_COLOR`, `TERM=dumb`).
    pub fn new(plain: bool) -> Self {
        Self {
            colour_out: !plain && io::stdout().is_terminal(),
            colour_err: !plain && io::stderr().is_terminal(),
        }
    }

    /// The paint for data.
    pub const fn paint(self) -> Paint {
        Paint { colour: self.colour_out }
    }

    /// Says what went wrong. * `program`: in which program.
    pub(crate) fn complain(self, program: &str, text: &str) {
        let paint = Paint { colour: self.colour_err };
        say(format_args!("{} {text}", paint.bad(format_args!("{program}:"))));
    }
}

/// Says something about what is going on.
pub fn say(text: impl Display) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says something that brings its own line ends.
pub fn say_as_is(text: &str) {
    // As above.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints data, as it stands.
///
/// A reader that has seen enough (`| head`) is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Prints data as one JSON document.
pub fn print_json(data: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(data)?;
    text.push('\n');
    print(&text)
}

/// Paints words, or leaves them as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paint {
    colour: bool,
}

impl Paint {
    fn with(self, style: Style, text: impl Display) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
    /// What something is called.
    pub fn name(self, text: impl Display) -> String {
        self.with(Style::new().bold(), text)
    }
    /// What is as it should be.
    pub fn good(self, text: impl Display) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }
    /// What deserves a look.
    pub fn odd(self, text: impl Display) -> String {
        self.with(AnsiColor::Yellow.on_default(), text)
    }
    /// What is wrong.
    pub fn bad(self, text: impl Display) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }
    /// What matters less.
    pub fn faint(self, text: impl Display) -> String {
        self.with(Style::new().dimmed(), text)
    }
}
