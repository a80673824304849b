//! `demo --machines`: the platform is a program of its own, because what it is made of is in no release.

use crate::exit::{Exit, Failure, Outcome};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The program, beside this one.
const PROGRAM: &str = "muster-platform";

/// Becomes that program. Returns only where it cannot.
pub fn run(report: Option<&Path>) -> Outcome {
    let program = std::env::current_exe().map(|own| own.with_file_name(PROGRAM));
    let program = program.unwrap_or_else(|_| PROGRAM.into());
    if !program.is_file() {
        let how = "in the repository, `tests/platform/run` builds it with all that it needs, and runs it";
        return Err(Failure::new(Exit::Unavailable, format!("{} is missing: {how}", program.display())));
    }
    let mut command = Command::new(&program);
    if let Some(path) = report {
        command.arg("--report").arg(path);
    }
    Err(Failure::because(Exit::Unavailable, format!("start {}", program.display()), command.exec()))
}
