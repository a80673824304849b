//! The commands that ask.

mod image;
mod show;

pub use image::{Image, seal, verify_image};
pub use show::{Analyze, analyze, plan, status};

use crate::cli::Format;
use crate::exit::{Exit, Failure, OrExit as _, Outcome};
use crate::{out, run};
use bootstrap_agent::host::{Hands, Systemctl, is_asked, serve};
use bootstrap_agent::node::Directories;
use bootstrap_agent::progress::Store;
use bootstrap_agent::status::Status;
use bootstrap_config::{File, HostSettings, Layer, load};
use bootstrap_core::Step;
use nix::unistd::User;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long root waits for the next request: a node that boots has a dozen, and PID 1 takes a tenth of a second to start whoever
/// carries one out.
const STAYS: Duration = Duration::from_secs(2);
/// How often it stays: systemd gives it ten minutes, and would end it in the middle of something.
const MOST_STAYS: u32 = 20;

/// `check FILE...`.
pub fn check(files: &[PathBuf], format: Format) -> Outcome {
    let mut layers = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path);
        let text = text.or_exit(Exit::Configuration, format_args!("read {}", path.display()))?;
        layers.push(Layer::Image(File::new(path.display().to_string(), text)));
    }
    let (problems, exit) = match load(&layers) {
        Ok(loaded) => (loaded.warnings, Exit::Done),
        Err(problems) => (problems, Exit::Configuration),
    };
    match format {
        Format::Json => out::print_json(&problems),
        Format::Text if problems.is_empty() => out::print("nothing is wrong\n"),
        Format::Text => out::print(&problems.render(false)),
    }
    .or_exit(Exit::Unavailable, "print")?;
    Ok(exit)
}

/// `reset STEP`.
pub fn reset(directories: &Directories, step: &str) -> Outcome {
    let step = Step::named(step).ok_or_else(|| {
        let known: Vec<&str> = Step::ALL.into_iter().map(Step::name).collect();
        Failure::new(
            Exit::Usage,
            format_args!("{step:?} is not a step; expected one of {}", known.join(", ")),
        )
    })?;
    let status = Status::read(&directories.run).or_exit(Exit::Unavailable, "read the status")?;
    let who = status.and_then(|status| status.who).ok_or_else(|| {
        Failure::new(
            Exit::Unavailable,
            "which instance this is is not known yet: the agent has not run since the boot",
        )
    })?;
    let store = Store::open(&directories.state).or_exit(Exit::Denied, "open the progress")?;
    let was = store.reset(&who.instance, step).or_exit(Exit::Denied, "forget the step")?;
    let words = if was { "is forgotten" } else { "was not known" };
    out::say(format_args!("{step} {words}; it is done again by: systemctl restart muster-bootstrap"));
    Ok(Exit::Done)
}

/// `host`: as root, for the agent.
pub fn host(directories: &Directories, user: &str) -> Outcome {
    let asker = User::from_name(user).or_exit(Exit::Configuration, "look users up")?;
    let asker =
        asker.ok_or_else(|| Failure::new(Exit::Configuration, format_args!("there is no user {user}")))?;
    let spool = directories.run.join("host");
    let (mut all, mut stayed) = (0, 0);
    let wrong = loop {
        // A request that stays is one that starts this again at once: where the files are wrong, nothing is allowed.
        let (rules, wrong) = match run::files(directories) {
            Ok((_, base)) => (base.host, None),
            Err(failure) => (HostSettings::default(), Some(failure)),
        };
        let answered = serve(&spool, asker.uid.as_raw(), &Hands::new(rules, Systemctl));
        all += answered.or_exit(Exit::Unavailable, "answer the agent")?;
        if wrong.is_some() || stayed == MOST_STAYS || !is_asked(&spool, STAYS) {
            break wrong;
        }
        stayed += 1;
    };
    tracing::info!(answered = all, "answered the agent");
    wrong.map_or(Ok(Exit::Done), Err)
}

/// `completions SHELL`.
pub fn completions(shell: clap_complete::Shell, command: &mut clap::Command) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, command, "muster-bootstrap", &mut text);
    out::print(&String::from_utf8_lossy(&text)).or_exit(Exit::Unavailable, "print")?;
    Ok(Exit::Done)
}

/// `manual DIRECTORY`: a page for the program, and one for each command.
pub fn manual(command: clap::Command, directory: &Path) -> Outcome {
    let what = format!("write the manual pages into {}", directory.display());
    std::fs::create_dir_all(directory).or_exit(Exit::Configuration, &what)?;
    clap_mangen::generate_to(command, directory).or_exit(Exit::Configuration, what)?;
    Ok(Exit::Done)
}
