//! Writes the answers in the session of `docs/decide.md` anew: `cargo run -p autoscaler-lab --example decide_session`.
#![allow(clippy::disallowed_methods, reason = "a tool that writes a document")]

use autoscaler_lab::decide::drive;
use autoscaler_policy::{File, load};
use std::path::Path;

fn main() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/decide.md");
    let text = std::fs::read_to_string(&path).expect("the document can be read");
    let policy = between(&text, "```hcl\n");
    let session = between(&text, "```text\n");
    let files = [File { name: "policy.hcl".to_owned(), text: policy.to_owned() }];
    let policies = load(&files).expect("the policy is sound").fleets;
    let sent: Vec<&str> = session.lines().filter_map(|line| line.strip_prefix("> ")).collect();
    let mut output = Vec::new();
    drive(&policies, sent.join("\n").as_bytes(), &mut output).expect("memory is read and written");
    let answers = String::from_utf8(output).expect("answers are UTF-8");
    let pairs: Vec<String> =
        sent.iter().zip(answers.lines()).map(|(sent, told)| format!("> {sent}\n< {told}\n")).collect();
    let text = text.replacen(session, &pairs.concat(), 1);
    std::fs::write(&path, text).expect("the document can be written");
}

/// What stands in the first fence that begins so.
fn between<'t>(text: &'t str, fence: &str) -> &'t str {
    let (_, from) = text.split_once(fence).expect("a fence");
    from.split_once("```").expect("the fence ends").0
}
