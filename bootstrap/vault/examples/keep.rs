//! Logs in by AppRole, writes the token and files that are made of secrets, and ends, or stays until its input ends.
//!
//! `keep --address URL --role-id FILE --secret-id FILE [--token FILE] [--template SOURCE=DESTINATION]... [--stay]`
//!
//! For `tests/bench vault`, and for tests that need a process to look at. Fails with what went wrong.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool")]

use bootstrap_core::Now;
use bootstrap_vault::{Destination, Keeper, Method, SecretId, Server, Template, VaultOptions};
use fleet::ports::Clock as _;
use fleet_clock::SystemClock;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read as _;
use std::path::PathBuf;

fn options() -> Result<(VaultOptions, bool), Box<dyn Error>> {
    let (mut named, mut templates, mut stay) = (BTreeMap::new(), Vec::new(), false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--stay" {
            stay = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        if word == "--template" {
            let (source, destination) = value.split_once('=').ok_or("--template needs SOURCE=DESTINATION")?;
            let destination = Destination { require_tmpfs: false, ..Destination::private(destination) };
            let (source, reload) = (source.into(), vec!["web.service".to_owned()]);
            templates.push(Template { source, destination, reload, remove_at_stop: true });
        } else {
            named.insert(word, value);
        }
    }
    let mut file = |name: &str| named.remove(name).map(PathBuf::from);
    let method = Method::AppRole {
        mount: "approle".to_owned(),
        role_id: file("--role-id").ok_or("--role-id is missing")?,
        secret_id: SecretId::Plain { file: file("--secret-id").ok_or("--secret-id is missing")? },
    };
    let token = file("--token");
    let address = named.remove("--address").ok_or("--address is missing")?;
    if let Some((name, _)) = named.first_key_value() {
        return Err(format!("no option {name}").into());
    }
    let mut options = VaultOptions::new(Server::new(address), method);
    options.token_file = token.map(|path| Destination { require_tmpfs: false, ..Destination::private(path) });
    options.templates = templates;
    Ok((options, stay))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (options, stay) = options()?;
    let clock = SystemClock::new();
    let mut keeper = Keeper::new(options, None, 1)?;
    let now = Now { wall: clock.wall(), monotonic: clock.monotonic() };
    let (stepped, reload) = keeper.step_and_place(now).await;
    if !keeper.is_whole(now.monotonic) {
        let failures: Vec<String> = stepped.failures.iter().map(ToString::to_string).collect();
        return Err(failures.join("\n").into());
    }
    if stay {
        println!("reload {reload:?}");
        std::io::stdin().read_to_end(&mut Vec::new())?;
        let (remove, stopped) = keeper.stop().await;
        bootstrap_vault::place::remove(remove.iter().map(PathBuf::as_path))?;
        stopped?;
    }
    Ok(())
}
