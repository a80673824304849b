//! Files that have to agree with each other, of the image and of the agent, read as files: nothing is run.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../image");

/// A file of the repository.
fn root(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn listed(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// The keys of a mapping that is indented so far, beneath a line that says `under`; of the whole file where that is empty.
fn keys(yaml: &str, under: &[&str], indent: usize) -> BTreeSet<String> {
    let mut lines = yaml.lines().peekable();
    for (depth, wanted) in under.iter().enumerate() {
        let line = format!("{}{wanted}:", "  ".repeat(depth));
        if !lines.by_ref().any(|at| at == line) {
            return BTreeSet::new();
        }
    }
    let space = " ".repeat(indent);
    let mut keys = BTreeSet::new();
    for line in lines.filter(|line| !line.trim().is_empty() && *line != "---") {
        let Some(rest) = line.strip_prefix(&space) else { break };
        if rest.starts_with([' ', '#', '-']) {
            continue;
        }
        keys.insert(rest.split(':').next().unwrap_or_default().to_owned());
    }
    keys
}

/// What stands behind a word, on each line that begins with it: a name, or a list in brackets.
fn words<'a>(yaml: &'a str, word: &str) -> Vec<&'a str> {
    let said = yaml.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(word));
    said.flat_map(|rest| rest.trim().trim_matches(['[', ']', '"']).split(", ")).collect()
}

/// The tasks of a playbook or a role, each with its lines.
fn tasks(yaml: &str) -> Vec<String> {
    let mut tasks: Vec<String> = Vec::new();
    for line in yaml.lines() {
        if line.trim_start().starts_with("- name: ") || tasks.is_empty() {
            tasks.push(String::new());
        }
        if let Some(task) = tasks.last_mut() {
            task.push_str(line);
            task.push('\n');
        }
    }
    tasks
}

/// A role takes what its defaults say and nothing else, and says what each is for.
#[test]
fn every_role_describes_its_variables_and_has_defaults_handlers_and_a_proof() {
    let roles = listed(&format!("{IMAGE}/ansible/roles"));
    assert!(roles.len() > 9, "{roles:?}");
    for role in roles {
        let file = |name: &str| read(&role.join(name));
        let name = role.file_name().expect("a name").to_string_lossy().into_owned();
        let defaults = keys(&file("defaults/main.yml"), &[], 0);
        assert!(!defaults.is_empty(), "{name} has no defaults");
        assert!(
            defaults.iter().all(|variable| variable.starts_with(&format!("{name}_"))),
            "{name}: {defaults:?}"
        );
        let specs = file("meta/argument_specs.yml");
        let described = keys(&specs, &["argument_specs", "main", "options"], 6);
        // Each of the directory's other entry points says what it takes besides.
        assert_eq!(defaults, described, "{name}: defaults/main.yml and meta/argument_specs.yml");
        for entry in keys(&specs, &["argument_specs"], 2) {
            assert!(role.join(format!("tasks/{entry}.yml")).is_file(), "{name} has no tasks of {entry}");
        }
        assert!(tasks(&file("tasks/verify.yml")).len() > 1, "{name} proves nothing");
    }
}

/// A handler that nobody notifies does nothing, and a name that no handler listens to is an error only where it is notified.
/// The type that the roles' descriptions give a variable.
fn described(variable: &str) -> Option<String> {
    listed(&format!("{IMAGE}/ansible/roles")).into_iter().find_map(|role| {
        let spec = read(&role.join("meta/argument_specs.yml"));
        let of = spec.split_once(&format!("\n      {variable}:\n"))?.1;
        Some(of.lines().find_map(|line| line.strip_prefix("        type: "))?.to_owned())
    })
}

/// Ansible makes a text of whatever stands in a text's place, and nobody is told.
#[test]
fn what_the_guide_says_of_a_site_is_as_the_roles_take_it() {
    let guide = read(&Path::new(IMAGE).join("../docs/getting-started.md"));
    let site =
        guide.split_once("cat >site.json <<'EOF'\n").and_then(|(_, after)| after.split_once("\nEOF\n"));
    let site: serde_json::Map<String, Value> =
        serde_json::from_str(site.expect("the guide writes it").0).expect("JSON");
    assert!(!site.is_empty());
    for (name, value) in site {
        let is = match value {
            Value::String(_) => "str",
            Value::Bool(_) => "bool",
            Value::Array(_) => "list",
            Value::Object(_) => "dict",
            Value::Number(_) | Value::Null => "int",
        };
        assert_eq!(described(&name).as_deref(), Some(is), "{name}");
    }
}

/// Nodes log in and have their tokens by the names that the module gives them.
#[test]
fn what_the_guide_says_of_vault_is_as_the_module_makes_it() {
    let module = read(&Path::new(IMAGE).join("../fleet/terraform/modules/vault/variables.tf"));
    let node =
        module.split_once("variable \"node_name\"").and_then(|(_, after)| after.split_once("default "));
    let node = node.and_then(|(_, after)| after.split('"').nth(1)).expect("it has a default");
    let guide = read(&Path::new(IMAGE).join("../docs/getting-started.md"));
    let role = guide.split_once("aws {\n").and_then(|(_, after)| after.lines().next()?.split('"').nth(1));
    assert_eq!(role, Some(node));
    let made = ["", "-client", "-names"].map(|of| format!("{node}{of}"));
    let creds: Vec<&str> =
        guide.split("/creds/").skip(1).filter_map(|after| after.split('\'').next()).collect();
    assert!(creds.len() > made.len(), "{creds:?}");
    for of in creds {
        assert!(made.iter().any(|name| name == of), "{of}");
    }
}

/// A node of the guide is as closed as one of the platform: Consul's agent refuses what no rule allows, and Nomad's client asks
/// who somebody is.
#[test]
fn what_the_guide_and_the_example_say_of_nodes_is_as_the_platform_plays_it() {
    let platform = read(&root("tests/platform/src/node.rs"));
    let guide = read(&root("docs/getting-started.md"));
    let example = read(&root("fleet/terraform/examples/complete/main.tf"));
    assert!(platform.contains(r#"\"acl\": {\"enabled\": true, \"default_policy\": \"deny\", "#));
    assert!(guide.contains(r#"{"acl": {"enabled": true, "default_policy": "deny", "#), "agents of Consul");
    assert!(
        platform.contains(r#""acl": {"enabled": true},"#) && platform.contains("\"jwt_auth_backend_path\"")
    );
    let client =
        example.split_once("nomad_client = jsonencode({").and_then(|(_, after)| after.split_once("})"));
    let client = client.expect("what clients of Nomad are told").0;
    assert!(client.contains("acl   = { enabled = true }"), "{client}");
    assert!(client.contains("jwt_auth_backend_path = local.nomad_mount"), "{client}");
}

/// The queue gets what the autoscaler reads, and nothing that it has no word for.
#[test]
fn the_rules_of_the_queue_are_for_what_is_read_of_it() {
    let reader = read(&root("fleet/notices/src/eventbridge.rs"));
    let arms = reader.lines().filter_map(|line| line.trim().strip_prefix("(\"aws."));
    let read_of: BTreeSet<(String, String)> = arms
        .filter_map(|arm| {
            let (source, rest) = arm.split_once('"')?;
            // A kind that is told apart further is a name without quotes.
            let kind = rest.strip_prefix(", \"").and_then(|rest| rest.split('"').next()).unwrap_or_default();
            Some((format!("aws.{source}"), kind.to_owned()))
        })
        .collect();
    let module = read(&root("fleet/terraform/modules/notices/main.tf"));
    let patterns = module.lines().filter(|line| line.trim().starts_with("pattern = "));
    let listed = |pattern: &str, key: &str| {
        let list = pattern.split_once(&format!("{key} = [\"")).and_then(|(_, after)| after.split('"').next());
        list.unwrap_or_default().to_owned()
    };
    let rules: BTreeSet<(String, String)> =
        patterns.map(|pattern| (listed(pattern, "source"), listed(pattern, "\"detail-type\""))).collect();
    assert!(rules.len() > 5, "{rules:?}");
    assert_eq!(rules, read_of);
}

/// Each figure that is measured stands on the page, and by what.
#[test]
fn every_row_of_the_benchmarks_has_its_lines_on_the_page() {
    let page = read(&root("docs/benchmarks.md"));
    for module in listed(&root("tests/tools/bench").to_string_lossy()) {
        if module.extension().is_none_or(|ending| ending != "py") {
            continue;
        }
        let source = read(&module);
        for row in source.split("\n@row").skip(1).filter_map(|rest| rest.split_once("\ndef ")) {
            let name = row.1.split('(').next().unwrap_or_default();
            assert!(page.contains(&format!("`tests/bench {name}")), "{name} of {}", module.display());
        }
    }
}

/// Prometheus is told nothing that operators cannot look up.
#[test]
fn every_metric_of_the_agent_is_on_its_page() {
    let source = read(&root("bootstrap/agent/src/metrics.rs"));
    let names = source.split("\"muster_bootstrap_").skip(1).filter_map(|rest| rest.split('"').next());
    let names: BTreeSet<&str> = names.filter(|name| !name.contains('.')).collect();
    assert!(names.len() > 10, "{names:?}");
    let page = read(&root("docs/bootstrap.md"));
    for name in names {
        let is_told =
            [format!("`_{name}`"), format!("`muster_bootstrap_{name}`")].iter().any(|one| page.contains(one));
        assert!(is_told, "{name}");
    }
}

#[test]
fn every_handler_is_notified_and_every_notice_heard() {
    let (mut notified, mut heard) = (BTreeSet::new(), BTreeSet::new());
    for role in listed(&format!("{IMAGE}/ansible/roles")) {
        let handlers = read(&role.join("handlers/main.yml"));
        let of_it: BTreeSet<String> = words(&handlers, "listen:").into_iter().map(str::to_owned).collect();
        assert!(!of_it.is_empty(), "{} has no handler", role.display());
        heard.extend(of_it);
        for file in listed(&role.join("tasks").to_string_lossy()) {
            let yaml = read(&file);
            for block in yaml.split("notify:").skip(1) {
                let mut lines = block.lines();
                let first = lines.next().unwrap_or_default().trim();
                if !first.is_empty() {
                    notified.insert(first.to_owned());
                    continue;
                }
                let list = lines.map_while(|line| line.trim_start().strip_prefix("- "));
                notified.extend(list.take_while(|item| !item.contains(": ")).map(str::to_owned));
            }
        }
    }
    assert_eq!(notified, heard);
}

/// What a playbook makes it proves, in the same run; and so no role's proof is forgotten.
#[test]
fn every_playbook_proves_the_roles_that_it_plays() {
    let mut proved_by: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in ["base", "node", "seal"] {
        let yaml = read(Path::new(&format!("{IMAGE}/ansible/{name}.yml")));
        let played: BTreeSet<String> = words(&yaml, "role:").into_iter().map(str::to_owned).collect();
        let proofs = tasks(&yaml).into_iter().filter(|task| task.contains("tasks_from: verify"));
        let proved: BTreeSet<String> = proofs
            .flat_map(|task| {
                let loops = words(&task, "loop:").into_iter().map(str::to_owned).collect::<Vec<_>>();
                let named = task.lines().filter_map(|line| line.strip_prefix("        name: "));
                let named: Vec<String> = named.map(str::to_owned).collect();
                if loops.is_empty() { named } else { loops }
            })
            .collect();
        assert_eq!(played, proved, "{name}.yml");
        proved_by.insert(name.to_owned(), proved);
    }
    let proved: BTreeSet<String> = proved_by.into_values().flatten().collect();
    let roles = listed(&format!("{IMAGE}/ansible/roles"));
    let roles = roles.iter().map(|role| role.file_name().expect("a name").to_string_lossy().into_owned());
    assert_eq!(proved, roles.collect(), "roles that no playbook plays");
}

/// Two bakes of one commit are made of the same: no version is a range, and of Python's packages each file is known.
#[test]
fn what_an_image_is_baked_with_is_pinned_whole() {
    let requirements = read(Path::new(&format!("{IMAGE}/ansible/requirements.txt")));
    let lines: Vec<&str> = requirements.lines().filter(|line| !line.starts_with('#')).collect();
    let pins = lines.iter().filter(|line| line.contains("==")).count();
    assert!(pins > 5, "{requirements}");
    let follows = |pair: &&[&str]| pair[0].ends_with(" \\") && pair[1].starts_with("    --hash=sha256:");
    let hashed = lines.windows(2).filter(|pair| pair[0].contains("==")).filter(follows).count();
    assert_eq!(hashed, pins, "each is followed by the SHA-256 of its files");
    let wheels = read(Path::new(&format!("{IMAGE}/packer/wheels")));
    assert!(wheels.contains("--require-hashes"), "{wheels}");
    let plugins = read(Path::new(&format!("{IMAGE}/packer/plugins.pkr.hcl")));
    let pinned = plugins.lines().find_map(|line| line.trim().strip_prefix("version = \"= "));
    let pinned = pinned.expect("a version").trim_end_matches('"');
    let tools = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/hashicorp")));
    assert!(
        tools.contains(&format!("[packer-plugin-amazon]={pinned})")),
        "tested with another than {pinned}"
    );
}

/// The sources beneath a directory.
fn sources(directory: &str) -> Vec<String> {
    let (directories, files): (Vec<_>, Vec<_>) =
        listed(directory).into_iter().partition(|path| path.is_dir());
    let beneath = directories.iter().flat_map(|path| sources(&path.to_string_lossy()));
    files.iter().map(|path| read(path)).chain(beneath).collect()
}

/// The names that the agent's alarms have in its sources: in the call, or in a constant that says what it is for.
fn alarms() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources(concat!(env!("CARGO_MANIFEST_DIR"), "/../bootstrap/agent/src")) {
        let calls = source.split(".alarm(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
        let constants = source.split("/// The alarm of ").skip(1);
        let constants = constants.filter_map(|rest| rest.split_once(": &str = \"").map(|(_, value)| value));
        names.extend(calls.chain(constants).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    // Those of questions to root are named by what was asked, in words.
    names.retain(|name| !name.contains(' '));
    names
}

#[test]
fn operators_are_told_what_to_do_about_every_alarm_of_the_agent() {
    let page = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")));
    let table = page.split("### Alarms of the agent").nth(1).and_then(|rest| rest.split("\n### ").next());
    let rows = table.expect("its heading").lines().filter_map(|line| line.strip_prefix("| `"));
    let told: BTreeSet<String> = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect();
    assert_eq!(told, alarms());
    assert!(told.len() > 7, "{told:?}");
}
