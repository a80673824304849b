//! What `docs/migrating.md` says that a setting of another scaler becomes is in the policy's tables.

use autoscaler_policy::reference_markdown;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a name of the tables' second and third columns may be besides: commands, and other scalers' words for what they do.
const COMMANDS: &[&str] = &["muster-autoscaler pause FLEET"];

/// The attributes of each block of a fleet by the block's header; the fleet's own under "".
fn schema() -> BTreeMap<String, BTreeSet<String>> {
    let mut blocks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut block = String::new();
    for line in reference_markdown().lines() {
        if let Some(heading) = line.trim_start_matches('#').strip_prefix(" `fleet \"NAME\"") {
            heading.trim_start_matches(" > ").trim_end_matches('`').clone_into(&mut block);
            blocks.entry(block.clone()).or_default();
        } else if let Some((name, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once("` |")) {
            blocks.entry(block.clone()).or_default().insert(name.to_owned());
        }
    }
    blocks
}

/// The spans of code in a cell.
fn spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// What of a span is in no table.
fn unknown(span: &str, schema: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let anywhere =
        |name: &str| schema.contains_key(name) || schema.values().any(|block| block.contains(name));
    let Some((header, body)) = span.split_once(" {") else {
        let name = span.split(" = ").next().unwrap_or_default();
        return if anywhere(name) { Vec::new() } else { vec![span.to_owned()] };
    };
    let Some(block) = schema.get(header) else { return vec![header.to_owned()] };
    // `kind = "service" groups`: a name is followed by its value or not.
    let body = body.trim_end_matches('}').trim().replace(" = ", "=");
    let names = body.split(' ').map(|word| word.split('=').next().unwrap_or_default().to_owned());
    names.filter(|name| !block.contains(name)).map(|name| format!("{header} {{ {name} }}")).collect()
}

#[test]
fn every_setting_that_a_migration_ends_at_exists() {
    let schema = schema();
    assert!(schema.len() > 15 && schema[""].contains("dry_run"), "{schema:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migrating.md");
    let document = std::fs::read_to_string(&path).expect("it can be read");
    let mut rows = 0;
    for line in document.lines().filter(|line| line.starts_with("| ") && !line.contains("| muster |")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let [_, ours, differs] = cells[..] else { panic!("not three columns: {line}") };
        let names = spans(ours).chain(spans(differs)).filter(|span| !COMMANDS.contains(span));
        let unknown: Vec<String> = names.flat_map(|span| unknown(span, &schema)).collect();
        assert!(unknown.is_empty(), "{unknown:?} is no setting of a policy: {line}");
        rows += 1;
    }
    assert!(rows > 25, "{rows} rows alone were read");
}
