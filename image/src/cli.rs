//! The command line.

use crate::commands;
use crate::exit::Outcome;
use crate::out::Terminal;
use clap::{Parser, Subcommand};

/// Bake images of nodes, prove them, publish them, move channels, and remove what nothing refers to.
///
/// A channel (canary, stable) is a parameter that says an image, with a journal of how it came to be. Whoever changes a channel
/// first wins; what a crash leaves half done, the next command takes up.
#[derive(Debug, Parser)]
#[command(
    name = "muster-image",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_long_help = "\
Start here:
  muster-image bake --build rootfs --package muster-bootstrap.deb --extra-vars site.json --rootfs /var/tmp/node
  muster-image verify /var/tmp/node --report report.json
  muster-image bake --build node --package muster-bootstrap.deb --extra-vars site.json --manifest image.json
  muster-image publish --manifest image.json --report report.json --channel canary
  muster-image promote --from canary --to stable --after 1h
  muster-image rollback stable
  muster-image janitor                        what would go, and why the rest stays; --apply does it

Data goes to standard output, everything else to standard error. Colour only on a terminal; NO_COLOR is honoured.

Exit codes: 0 done, 64 usage, 65 the image or what was handed in is not what it should be, 69 not reachable or not there,
70 bug, 75 try again (somebody else was first, too soon, throttled), 77 not allowed, 78 configuration, 130 interrupted."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bake(commands::bake::Args),
    Verify(commands::verify::Args),
    Publish(commands::publish::Args),
    Promote(commands::channels::Promote),
    Rollback(commands::channels::Rollback),
    Channels(commands::channels::Show),
    Janitor(commands::janitor::Args),
    Completions(commands::generate::Completions),
    Man(commands::generate::Man),
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self, terminal: Terminal) -> Outcome {
        match self.command {
            Command::Bake(args) => args.run(),
            Command::Verify(args) => args.run(terminal),
            Command::Publish(args) => args.run(),
            Command::Promote(args) => args.run(),
            Command::Rollback(args) => args.run(),
            Command::Channels(args) => args.run(terminal),
            Command::Janitor(args) => args.run(terminal),
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
        }
    }
}
