//! The binary as people and scripts meet it: what it prints where, and how it ends.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tests::programs::{Running, autoscaler, bootstrap, ended, image, run};

/// The fleet of the world that `cloud` serves by default.
const FLEET: &str = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5";

const COMMANDS: [&str; 19] = [
    "run",
    "check",
    "explain-policy",
    "plan",
    "status",
    "explain",
    "pause",
    "resume",
    "override",
    "rollout",
    "demo",
    "backtest",
    "oracle",
    "tune",
    "decide",
    "replay",
    "cloud",
    "completions",
    "man",
];

/// A directory with a policy file of the default world's fleet.
fn home() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let policy = directory.path().join("web.hcl");
    fs::write(&policy, good("web")).expect("a policy");
    (directory, policy)
}

fn good(name: &str) -> String {
    format!("fleet \"{name}\" {{\n  id = \"{FLEET}\"\n  workload {{\n    kind = \"spreads\"\n  }}\n}}\n")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

fn json(data: &str) -> Value {
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in:\n{data}"))
}

#[test]
fn help_and_version_are_data() {
    for arguments in [vec!["--help"], vec!["-h"], vec!["--version"]] {
        let (code, out, err) = run(&arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        assert!(out.contains("muster-autoscaler") || out.contains("EC2 spot fleets"), "{out}");
    }
    for command in COMMANDS {
        let (code, out, _) = run([command, "--help"]);
        assert_eq!(code, 0, "{command}");
        assert!(out.contains("Examples:\n  muster-autoscaler "), "{command} shows no example:\n{out}");
        assert!(out.contains(&format!("Usage: muster-autoscaler {command}")), "{out}");
    }
    let (_, all, _) = run(["--help"]);
    assert!(COMMANDS.iter().all(|command| all.contains(&format!("\n  {command} "))), "{all}");
}

#[test]
fn a_wrong_command_line_exits_with_64_and_says_so_on_standard_error() {
    for arguments in [
        &[][..],
        &["rum"],
        &["run"],
        &["status", "--format", "yaml"],
        &["explain", "--at", "yesterday"],
        &["pause", "--for", "1h", "--reason", "x"],
        &["pause", "web", "--all", "--for", "1h", "--reason", "x"],
        &["override", "web", "--for", "1h", "--reason", "nothing to override"],
        &["override", "web", "--min", "3", "--reason", "for how long?"],
        &["override", "web", "--end", "--min", "3", "--reason", "both"],
        &["override", "web", "--target", "60", "--for", "1h", "--reason", "no sign"],
        &["run", "--policy", "x", "--state", "y", "--endpoint", "s3=http://127.0.0.1"],
        &["status", "--address", "not an address"],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (64, ""), "{arguments:?}: {err}");
        assert!(err.contains("--help"), "{arguments:?} is not told how to go on: {err}");
    }
    let (_, _, err) = run(["rum"]);
    assert!(err.contains("'run'"), "the nearest command is named: {err}");
}

#[test]
fn check_finds_everything_at_once_and_exits_with_78() {
    let (directory, policy) = home();
    let (code, out, err) = run(["check", text(&policy)]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "ok: 1 fleet (web)\n", ""));

    let bad = directory.path().join("bad.hcl");
    fs::write(
        &bad,
        "fleet \"api\" {\n  id = 7\n  capacity {\n    min = 9\n    max = 2\n    mxa = 3\n  }\n}\n",
    )
    .expect("a file");
    let (code, out, err) = run(["check", text(&policy), text(&bad)]);
    assert_eq!((code, out.as_str()), (78, ""));
    for place in ["bad.hcl:2:", "bad.hcl:6:", "fleet.api.capacity.mxa", "did you mean `max`?", "^^^"] {
        assert!(err.contains(place), "no {place} in:\n{err}");
    }
    assert!(!err.contains('\u{1b}'), "colour is for terminals:\n{err}");

    let (code, out, err) = run(["check", "--format", "json", text(&bad)]);
    assert_eq!((code, err.as_str()), (78, ""));
    let found = json(&out);
    assert_eq!(found["ok"], false);
    let problems = found["problems"].as_array().expect("problems");
    assert!(problems.iter().any(|p| p["path"] == "fleet.api.capacity.mxa" && p["line"] == 6), "{out}");

    // A directory is its policy files.
    let (code, _, err) = run(["check", text(directory.path())]);
    assert_eq!(code, 78, "{err}");
    fs::remove_file(&bad).expect("no bad file any more");
    assert_eq!(run(["check", text(directory.path())]).0, 0);
    let (code, _, err) = run(["check", text(&bad)]);
    assert_eq!(code, 78);
    assert!(err.contains("No such file") && err.contains("bad.hcl"), "{err}");
}

#[test]
fn what_cannot_be_read_is_a_problem_beside_the_others_and_no_fleet_at_all_is_one() {
    let (directory, policy) = home();
    fs::write(&policy, "fleet \"web\" {\n  di = 7\n}\n").expect("a policy");
    let gone = directory.path().join("gone.hcl");
    let (code, out, err) = run(["check", "--format", "json", text(&gone), text(&policy)]);
    assert_eq!((code, err.as_str()), (78, ""));
    let found = json(&out);
    let problems = found["problems"].as_array().expect("problems");
    let about =
        |path: &Path, line: u64| problems.iter().any(|p| p["file"] == text(path) && p["line"] == line);
    assert!(about(&gone, 0) && about(&policy, 2), "{out}");

    let pipe = directory.path().join("pipe.hcl");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("`mkfifo` runs");
    assert!(made.success());
    fs::write(&policy, good("web")).expect("a policy");
    let line = format!("{} check {} < /dev/null", text(Path::new(autoscaler().get_program())), text(&pipe));
    let writes = format!("cat {} > {} & {line}", text(&policy), text(&pipe));
    let (code, out, err) = ended(Command::new("bash").args(["-c", &writes]));
    assert_eq!((code, out.as_str()), (0, "ok: 1 fleet (web)\n"), "{err}");

    let empty = directory.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let state = directory.path().join("state");
    for arguments in
        [&["check", text(&empty)][..], &["run", "--policy", text(&empty), "--state", text(&state)]]
    {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (78, ""), "{arguments:?}");
        assert!(err.contains("no fleet is named"), "{err}");
    }
    let (code, _, err) = run([
        "run",
        "--policy",
        text(&policy),
        "--state",
        text(&policy),
        "--region",
        "eu-west-1",
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(code, 78, "a file is no state directory: {err}");
}

#[test]
fn a_fleet_that_two_files_name_is_found() {
    let (directory, policy) = home();
    let again = directory.path().join("again.hcl");
    fs::write(&again, good("web")).expect("a policy");
    assert_eq!(run(["check", text(&again)]).0, 0);
    assert_eq!(run(["check", text(&policy), text(&again)]).0, 78);
}

#[test]
fn explain_policy_says_where_every_value_comes_from() {
    let (_directory, policy) = home();
    let schedule = "  schedule \"office\" {\n    start = \"0 8 * * *\"\n    zone = \"UTC\"\n    for = \"9h\"\n    min = 6\n  }\n}\n";
    let with_schedule = good("web").trim_end().trim_end_matches('}').to_owned() + schedule;
    fs::write(&policy, with_schedule).expect("a policy");
    let at = |time: &str| {
        let (code, out, err) = run(["explain-policy", text(&policy), "--at", time]);
        assert_eq!(code, 0, "{err}");
        out
    };
    let line = |out: &str, path: &str| {
        let line =
            out.lines().find(|line| line.starts_with(path)).unwrap_or_else(|| panic!("no {path} in:\n{out}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let night = at("2026-03-02T07:00:00Z");
    assert_eq!(line(&night, "fleet.web.capacity.min"), "fleet.web.capacity.min 1 default");
    let here = policy.display();
    assert_eq!(line(&night, "fleet.web.id"), format!("fleet.web.id \"{FLEET}\" {here}:2"));
    let day = at("2026-03-02T09:00:00Z");
    assert_eq!(line(&day, "fleet.web.capacity.min"), "fleet.web.capacity.min 6 schedule office");

    let (_, out, _) = run(["explain-policy", text(&policy), "--format", "json"]);
    let values = json(&out);
    let origin = |path: &str| {
        let listed = values.as_array().and_then(|values| values.iter().find(|value| value["path"] == path));
        listed.unwrap_or_else(|| panic!("no {path} in:\n{out}"))["origin"].clone()
    };
    assert_eq!(origin("fleet.web.target.cpu"), serde_json::json!({"from": "default"}));
    assert_eq!(origin("fleet.web.id"), serde_json::json!({"from": "file", "file": text(&policy), "line": 2}));
    assert_eq!(run(["explain-policy", text(&policy), "--fleet", "nobody"]).0, 64);
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, err) = run(["completions", shell]);
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        assert!(COMMANDS.iter().all(|command| out.contains(command)), "{shell}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("completions.bash");
    fs::write(&script, run(["completions", "bash"]).1).expect("a script");
    let status = Command::new("bash").arg("-n").arg(&script).status().expect("bash");
    assert!(status.success(), "bash does not understand its completions");

    let pages = directory.path().join("made/for/it");
    let (code, out, _) = run(["man", text(&pages)]);
    assert_eq!((code, out.as_str()), (0, ""));
    for command in COMMANDS {
        let page = pages.join(format!("muster-autoscaler-{command}.1"));
        let page = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(page.contains(".TH ") && page.contains("Examples:"), "{command}:\n{page}");
    }
    assert_eq!(run(["man", text(&script)]).0, 78, "a file is no directory");
}

/// What a page has somebody type of our programs, each command as its words; of what is piped or substituted, each part.
fn typed(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let text: String = blocks.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let mut commands = Vec::new();
    for line in text.lines() {
        let line = line.split(" #").next().unwrap_or_default();
        for part in line.split(['|', ';', '&', '(', ')']) {
            let before = |word: &&str| ["sudo", "env"].contains(word) || word.contains('=');
            let words: Vec<String> = part.split_whitespace().skip_while(before).map(str::to_owned).collect();
            if words.first().is_some_and(|word| word.starts_with("muster-")) {
                commands.push(words);
            }
        }
    }
    commands
}

#[test]
fn the_commands_of_the_pages_are_ones_that_the_programs_take() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let others = ["README.md", "image/README.md", "fleet/terraform/README.md"].map(|page| root.join(page));
    let pages = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).chain(others);
    let (mut told, mut options) = (std::collections::BTreeMap::new(), 0);
    for page in pages {
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for words in typed(&text) {
            let program = match words[0].as_str() {
                "muster-autoscaler" => autoscaler(),
                "muster-image" => image(),
                "muster-bootstrap" => bootstrap(),
                other => panic!("{}: there is no {other}", page.display()),
            };
            let mut help_of = |command: &[String]| {
                let help = || {
                    let mut asked = Command::new(program.get_program());
                    ended(asked.args(&command[1..]).arg("--help")).1
                };
                told.entry(command.to_vec()).or_insert_with(help).clone()
            };
            // A word that is no command of its own is an argument of the one before.
            let mut command = 1;
            while words.get(command).is_some_and(|word| {
                let usage = format!("Usage: {} ", words[..=command].join(" "));
                word.starts_with(|c: char| c.is_ascii_lowercase())
                    && help_of(&words[..=command]).contains(&usage)
            }) {
                command += 1;
            }
            assert!(command > 1, "{}: no such command: {words:?}", page.display());
            let help = help_of(&words[..command]);
            let takes = |option: &str| {
                help.split(|c: char| c != '-' && !c.is_ascii_alphanumeric()).any(|it| it == option)
            };
            for word in words.iter().filter(|word| word.starts_with("--")) {
                let option = word.split('=').next().unwrap_or_default();
                assert!(takes(option), "{}: no such option: {option} of {words:?}", page.display());
                options += 1;
            }
        }
    }
    assert!(options > 60, "{options} options alone were read");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut shell = Command::new("bash");
    let program = autoscaler().get_program().to_owned();
    let line = format!("set -o pipefail; {} completions bash | head -c 1", program.display());
    let (code, out, err) = ended(shell.args(["-c", &line]));
    assert_eq!((code, out.len(), err.as_str()), (0, 1, ""));
}

#[test]
fn without_a_daemon_there_is_nobody_to_ask() {
    let nowhere = ["--address", "http://127.0.0.1:9"];
    for command in [&["status"][..], &["explain", "web"], &["resume", "web", "--reason", "x"]] {
        let (code, out, err) = run([command, &nowhere].concat());
        assert_eq!((code, out.as_str()), (69, ""), "{command:?}");
        assert!(err.contains("is `muster-autoscaler run` running there?"), "{err}");
        assert!(err.contains("refused"), "the cause is told: {err}");
    }
    let (code, _, err) = run(["status", "--journal", "/nonexistent"]);
    assert_eq!(code, 78, "{err}");
}

/// A simulated account, and the environment that its clients need.
struct Account {
    _cloud: Running,
    environment: Vec<(String, String)>,
}

impl Account {
    fn open() -> Self {
        let mut cloud = Running::start(autoscaler().args(["cloud", "--port", "0"]));
        let environment = cloud.wait_for("the environment", |line| {
            let pairs = line.strip_prefix("export ")?.split(' ').filter_map(|pair| pair.split_once('='));
            Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        });
        Self { _cloud: cloud, environment }
    }
    /// The autoscaler, for this account.
    fn autoscaler(&self, arguments: &[&str]) -> Command {
        let mut command = autoscaler();
        command.args(arguments).envs(self.environment.iter().cloned());
        command
    }
}

/// A daemon, and its address.
fn daemon(account: &Account, policy: &Path, state: &Path, more: &[&str]) -> (Running, String) {
    let fixed = ["run", "--policy", text(policy), "--state", text(state), "--listen", "127.0.0.1:0"];
    let mut command = account.autoscaler(&[&fixed, more].concat());
    let mut running = Running::start(command.args(["--log-format", "json"]));
    let address = running.wait_for("the address", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        Some(format!("http://{}", event["address"].as_str()?))
    });
    (running, address)
}

/// Waits until a daemon has decided something for the first time.
fn first_decision(running: &mut Running) {
    running.wait_for("a decision", |line| line.contains("\"decided to").then_some(()));
}

#[test]
fn plan_observes_by_itself_and_leaves_nothing_behind() {
    let account = Account::open();
    let (directory, policy) = home();
    let (code, out, err) =
        ended(account.autoscaler(&["plan", "--policy", text(&policy)]).current_dir(&directory));
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("web at 20"), "{out}");
    assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 1, "only the policy is there");

    let (code, out, _) =
        ended(&mut account.autoscaler(&["plan", "--policy", text(&policy), "--format", "json"]));
    assert_eq!(code, 0);
    let fleets = &json(&out)["fleets"];
    assert_eq!((&fleets[0]["id"], &fleets[0]["target"]), (&Value::from(FLEET), &Value::from(4)), "{out}");
    assert!(fleets[0]["decided"]["report"].is_object(), "{out}");

    let (code, _, err) = ended(&mut account.autoscaler(&["plan", "nobody", "--policy", text(&policy)]));
    assert_eq!(code, 64, "{err}");
    fs::write(&policy, good("web").replace("73fbd2ce", "00000000")).expect("a policy");
    let (code, out, _) = ended(&mut account.autoscaler(&["plan", "--policy", text(&policy)]));
    assert_eq!(code, 69, "a fleet that is not there cannot be planned for");
    assert!(out.contains("no living fleet is sfr-00000000"), "{out}");
}

#[test]
fn a_plan_that_could_not_look_says_why() {
    type Change = fn(&mut Command);
    let account = Account::open();
    let (_directory, policy) = home();
    let secret = |command: &mut Command| _ = command.env("AWS_SECRET_ACCESS_KEY", "another");
    let nowhere = |command: &mut Command| _ = command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let elsewhere = |command: &mut Command| _ = command.env("AWS_REGION", "us-east-2");
    let cases: [(Change, i32, &str); 3] =
        [(secret, 77, "AuthFailure"), (nowhere, 69, "refused"), (elsewhere, 77, "us-east-2")];
    for (change, expected, cause) in cases {
        for format in ["text", "json"] {
            let mut command = account.autoscaler(&["plan", "--policy", text(&policy), "--format", format]);
            change(&mut command);
            let (code, out, err) = ended(&mut command);
            assert_eq!(code, expected, "{cause}: {out}{err}");
            let told = match format {
                "json" => json(&out)["failing"][0].to_string(),
                _ => out.lines().filter(|line| line.starts_with("! describe_fleets in ")).collect(),
            };
            assert!(told.contains(cause), "no {cause} in {told}\n{out}{err}");
        }
    }
}

#[test]
fn the_instance_that_we_run_on_is_learned_from_its_metadata() {
    let account = Account::open();
    let (directory, policy) = home();
    let endpoint =
        &account.environment.iter().find(|(name, _)| name == "AWS_ENDPOINT_URL").expect("it is told").1;
    let (_, out, err) =
        ended(&mut account.autoscaler(&["plan", "--policy", text(&policy), "--format", "json"]));
    let found = json(&out);
    let mine = found["fleets"][0]["instances"][0]["id"].as_str().unwrap_or_else(|| panic!("{out}{err}"));
    let state = directory.path().join("state");
    let mut command = account.autoscaler(&["run", "--policy", text(&policy), "--state", text(&state)]);
    command.args(["--listen", "127.0.0.1:0", "--log-format", "json"]);
    command.env_remove("AWS_EC2_METADATA_DISABLED");
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("{endpoint}/_imds/{mine}"));
    let mut running = Running::start(&mut command);
    let told = running.wait_for("which instance it is", |line| {
        line.contains("learned").then(|| json(line)["instance"].clone())
    });
    assert_eq!(told, mine);
}

#[test]
fn a_daemon_is_watched_and_ordered_about_and_its_journal_outlives_it() {
    let account = Account::open();
    let (directory, policy) = home();
    let state = directory.path().join("state");
    let (mut running, address) = daemon(&account, &policy, &state, &[]);
    first_decision(&mut running);
    let ask = |arguments: &[&str]| run([arguments, &["--address", &address]].concat());

    let (code, out, err) = ask(&["status"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let row: Vec<&str> = out.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!((row[0], row[1], row[4], row[5]), ("web", "active", "4", "1..20"), "{out}");
    let (_, out, _) = ask(&["status", "web"]);
    assert!(out.contains(&format!("web: spot_fleet {FLEET} in eu-west-1")), "{out}");
    assert!(out.contains("4 instances: "), "{out}");
    assert!(!out.contains('\u{1b}'), "colour is for terminals: {out}");
    let (_, out, _) = ask(&["status", "--format", "json"]);
    assert_eq!(json(&out)["fleets"][0]["target"], 4, "{out}");
    assert_eq!(ask(&["status", "nobody"]).0, 64);

    let order = ["override", "web", "--min", "6", "--for", "1h", "--reason", "launch"];
    let (code, out, err) = ask(&order);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("override web: in force and on disk, until 20"), "{err}");
    running.wait_for("the target's raise", |line| line.contains("carried a step out").then_some(()));
    let (_, out, _) = ask(&["status"]);
    assert!(out.contains("! web: min 6 by jo's override, ends in 59m"), "{out}");
    let (code, _, err) = ask(&["override", "web", "--min", "60", "--for", "1h", "--reason", "too many"]);
    assert_eq!(code, 64);
    assert!(err.contains("min 60 is above max 20"), "{err}");
    let (code, _, err) = ask(&["resume", "wbe", "--reason", "x"]);
    assert_eq!(code, 64);
    assert!(err.contains("did you mean web?"), "{err}");
    assert_eq!(ask(&["pause", "--all", "--for", "5m", "--reason", "x"]).0, 0);
    assert!(ask(&["status"]).1.contains("! web: paused by jo"));

    let (code, out, err) = ask(&["explain", "web", "--last", "9"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("step 1: set the target of {FLEET} from 4 to 6")), "{out}");
    assert_eq!(ask(&["explain", "web", "--at", "1h"]).0, 64, "nobody has decided anything then");
    let (code, _, err) = ask(&["explain", "wbe", "--at", "0s"]);
    assert_eq!(code, 64);
    assert!(err.contains("no policy names a fleet wbe"), "{err}");
    let (code, _, err) = ask(&["override", "web", "--end", "--reason", "x"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("end-override web: in force"), "{err}");
    let (code, _, err) = ask(&["override", "web", "--end", "--reason", "x"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("there was nothing to end"), "{err}");
    assert_eq!(ask(&order).0, 0);
    assert_eq!(ask(&["pause", "web", "--for", "5m", "--reason", &"x".repeat(70_000)]).0, 64, "too large");

    let second = account.autoscaler(&[
        "run",
        "--policy",
        text(&policy),
        "--state",
        text(&state),
        "--listen",
        "127.0.0.1:0",
    ]);
    let (code, _, err) = ended(&mut { second });
    assert_eq!(code, 75, "one process has a state directory at a time: {err}");

    running.signal("TERM");
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(ask(&["status"]).0, 69);

    let read = |arguments: &[&str]| run([arguments, &["--journal", text(&state)]].concat());
    let (code, out, err) = read(&["explain"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("web at 20"), "{out}");
    let (code, out, err) = read(&["status"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("as the journal in"), "{err}");
    let row: Vec<&str> = out.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!((row[0], row[4], row[5]), ("web", "6", "6..20"), "{out}");
    for words in ["! web: paused by jo, ends in ", "! web: min 6 by jo's override, ends in "] {
        assert!(out.contains(words), "no {words} in {out}");
    }
    let (_, out, _) = read(&["status", "--format", "json"]);
    assert_eq!(json(&out)["fleets"][0]["bent"]["by"], "jo", "{out}");
    let (_, out, _) = read(&["status", "web", "--format", "json"]);
    assert_eq!(json(&out)["pause"]["by"], "jo", "{out}");
    assert_eq!(read(&["explain", "nobody"]).0, 64);
    let (code, out, err) = read(&["replay"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.starts_with("web: ") && out.ends_with(" planned again, all the same\n"), "{out}");
    let (_, out, _) = read(&["replay", "--format", "json"]);
    assert!(json(&out)[0]["replay"]["cycles"].as_u64().is_some_and(|cycles| cycles > 1), "{out}");
}

#[test]
fn with_an_operator_token_file_orders_need_a_token() {
    let account = Account::open();
    let (directory, policy) = home();
    let token = directory.path().join("token");
    fs::write(&token, "a-token-of-operators\n").expect("a token");
    let other = directory.path().join("other");
    fs::write(&other, "a-token-of-somebody\n").expect("a token");
    let options = ["--operator-token-file", text(&token)];
    let (mut running, address) = daemon(&account, &policy, &directory.path().join("state"), &options);
    first_decision(&mut running);
    let order = ["resume", "web", "--reason", "x", "--address", &address];
    for (token_file, expected) in [(None, 77), (Some(&other), 77), (Some(&token), 0)] {
        let token_file = token_file.map_or(vec![], |path| vec!["--token-file", text(path)]);
        let (code, _, err) = run([&order[..], &token_file].concat());
        assert_eq!(code, expected, "{err}");
    }
    assert_eq!(run(["status", "--address", &address]).0, 0, "looking needs no token");
}

#[test]
fn run_does_not_start_on_what_is_wrong() {
    let (directory, policy) = home();
    let state = directory.path().join("state");
    let start =
        |more: &[&str]| run([&["run", "--policy", text(&policy), "--state", text(&state)], more].concat());
    let missing = directory.path().join("missing");
    let (code, _, err) = start(&["--samples-token-file", text(&missing)]);
    assert_eq!(code, 78);
    assert!(err.contains("missing: No such file"), "{err}");
    let (code, _, err) = start(&[]);
    assert_eq!(code, 78, "nobody names a region: {err}");
    assert!(err.contains("names no region"), "{err}");
    fs::write(&policy, "fleet \"web\" {}\n").expect("a policy");
    let (code, _, err) = start(&[]);
    assert_eq!(code, 78);
    assert!(err.contains("web.hcl:1:1") && err.contains("the policies cannot be used"), "{err}");
    assert!(!state.exists(), "nothing was begun");
}
