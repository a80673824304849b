//! The commands that the documentation tells people to give are commands of this program's.

use super::Cli;
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};

/// The pages beneath a directory.
fn pages(beneath: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(beneath).expect("a directory").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            pages(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The words of a command of a shell up to what ends it; what another command would say is left out.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut depth) = (Vec::new(), None::<String>, None, 0_u32);
    for letter in command.chars() {
        match (letter, quote) {
            (_, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('(', None) => depth += 1,
            (')', None) => depth = depth.saturating_sub(1),
            (' ' | '\t', None) if depth == 0 => words.extend(word.take()),
            ('#' | '|' | '>' | '&' | ';', None) if depth == 0 && word.is_none() => break,
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words.retain(|word| !word.starts_with("$printf"));
    words
}

/// The commands of a page: those of its listings, and orders that are quoted in its text, with a name for whatever stands for one.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut listing = false;
    for line in page.replace("\\\n", " ").lines() {
        if line.trim_start().starts_with("```") {
            listing = !listing;
        } else if listing {
            // A parenthesis is no word of a command: there the program itself is told of.
            let command = line.trim_start().strip_prefix("muster-autoscaler ");
            let command = command.filter(|command| !command.starts_with('('));
            found.extend(command.map(|command| format!("muster-autoscaler {command}")));
        } else {
            let quoted = line.split('`').skip(1).step_by(2).filter(|quoted| {
                let order = quoted.strip_prefix("muster-autoscaler ").unwrap_or_default();
                ["pause ", "resume ", "override ", "rollout "].iter().any(|verb| order.starts_with(verb))
            });
            found.extend(quoted.map(|quoted| quoted.replace(" N ", " 7 ")));
        }
    }
    found
}

#[test]
fn every_command_of_the_documentation_is_one() {
    let (mut found, mut seen, mut wrong) = (Vec::new(), 0, Vec::new());
    pages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), &mut found);
    for path in found {
        let page = fs::read_to_string(&path).expect("it can be read");
        for command in commands(&page) {
            let words = words(&command);
            // A roll-out's kind of orders, by their name.
            if words.len() < 3 && words[1] == "rollout" {
                continue;
            }
            seen += 1;
            // Who gives an order is the user of the environment.
            let by = ["pause", "resume", "override"].contains(&words[1].as_str())
                || (words[1] == "rollout" && words[2] != "status");
            let by = by.then(|| ["--by".to_owned(), "somebody".to_owned()]).into_iter().flatten();
            let parsed = Cli::try_parse_from(words.iter().cloned().chain(by));
            if let Err(error) = parsed {
                wrong.push(format!("{}: {command}\n{error}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 40, "{seen} commands: are they looked for where they are?");
}

#[test]
fn a_commands_words_are_a_shells() {
    let said = "muster-autoscaler override web --reason \"a sale\" --for 6h   # until tonight";
    assert_eq!(words(said), ["muster-autoscaler", "override", "web", "--reason", "a sale", "--for", "6h"]);
    let said = "muster-autoscaler backtest --trace a.csv $(printf ' --history %s' b/*.gz) | head";
    assert_eq!(words(said), ["muster-autoscaler", "backtest", "--trace", "a.csv"]);
}
