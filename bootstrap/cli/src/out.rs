//! The one place that prints: data on standard output, talk on standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Says something about what is going on.
pub fn say(text: impl Display) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints data, as it stands. A reader that has seen enough (`| head`) is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Prints data as one JSON document.
pub fn print_json(data: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(data)?;
    text.push('\n');
    print(&text)
}
