//! The commands and their exit codes, which scripts go by.

use crate::ground::{Cloud, Node, state_of};
use bootstrap_agent::host::{Contents, Done, Host as _, HostError, Request, Spool};
use bootstrap_core::{Condition, State, Step};
use fleet_clock::SystemClock;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A command's exit code, its data and its talk.
fn ran(node: &Node, words: &[&str]) -> (Option<i32>, String, String) {
    let output = node.command(words).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Runs commands one after the other: each exits as it should, and says so in data or in talk.
fn check(node: &Node, table: &[(&[&str], i32, &str)]) {
    for (words, code, said) in table {
        let (exit, data, talk) = ran(node, words);
        assert_eq!(exit, Some(*code), "{words:?}: {data}{talk}");
        assert!(format!("{data}{talk}").contains(said), "{words:?}: {data}{talk}");
    }
}

#[test]
fn before_the_agent_has_run_there_is_nothing_to_tell() {
    let cloud = Cloud::start();
    let node = Node::new(&cloud, 0, "");
    let wrong = node.path().join("wrong.hcl").display().to_string();
    fs::write(&wrong, "identity {\n}\nwatch {\n  verify = 7\n}\n").expect("written");
    let fine = node.path().join("bootstrap.hcl").display().to_string();
    check(
        &node,
        &[
            (&["status"], 1, "the agent has not run since the boot"),
            (&["status", "--wait", "--timeout", "300ms"], 75, "it is not done yet"),
            (&["status", "--timeout", "1s"], 64, "--wait"),
            (&["analyze", "blame"], 69, "has not run"),
            (&["analyze", "critical-chain"], 69, "has not run"),
            (&["reset", "awx"], 69, "which instance this is is not known yet"),
            (&["reset", "awks"], 64, "is not a step; expected one of identity, time"),
            (&["check", &fine], 0, "nothing is wrong"),
            (&["check", &wrong], 78, "watch.verify"),
            (&["check", &wrong, "--format", "json"], 78, "\"watch.verify\""),
            (&["check", "/nonexistent.hcl"], 78, "/nonexistent.hcl"),
            (&["plan"], 0, "files alone"),
            (&["completions", "bash"], 0, "muster-bootstrap"),
            (&["completions", "tcl"], 64, "invalid value"),
            (&["--version"], 0, "muster-bootstrap"),
            (&["fly"], 64, "fly"),
        ],
    );
}

#[test]
fn every_command_has_a_manual_page_with_its_options() {
    let cloud = Cloud::start();
    let node = Node::new(&cloud, 0, "");
    let man = node.path().join("man");
    check(&node, &[(&["manual", &man.display().to_string()], 0, "")]);
    for (command, option) in [
        ("", "verify-image"),
        ("-run", "--config"),
        ("-plan", "--format"),
        ("-status", "--timeout"),
        ("-analyze-blame", "SYNOPSIS"),
        ("-analyze-critical-chain", "SYNOPSIS"),
        ("-check", "FILE"),
        ("-reset", "STEP"),
        ("-seal", "--root"),
        ("-verify-image", "--root"),
        ("-completions", "bash"),
    ] {
        let page = fs::read_to_string(man.join(format!("muster-bootstrap{command}.1")));
        let page = page.unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(page.replace("\\-", "-").contains(option), "{command}: {page}");
    }
}

#[test]
fn what_a_boot_came_to_is_in_the_exit_code() {
    let cloud = Cloud::start();
    let quick = "host {\n  units = [\"x.service\"]\n  file \"x\" {\n    path = \"$PLACE/x\"\n  }\n}\n\
                 monitoring {\n  address = \"http://127.0.0.1:9/metrics\"\n  unit = \"x.service\"\n  arguments_file = \"x\"\n}\n\
                 step \"monitoring\" {\n  attempt = \"1s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"2s\"\n}\n";
    let mut node = Node::new(&cloud, 0, quick);
    node.start();
    node.wait_until("a boot without an exporter", |status| status.report.condition == Condition::Degraded);
    check(
        &node,
        &[
            (&["status"], 2, "degraded: i-"),
            (&["status", "--wait", "--timeout", "60s"], 2, "[ignore]"),
            (&["status", "--format", "json"], 2, "\"condition\": \"degraded\""),
            (&["analyze", "critical-chain"], 0, "ready          @"),
            (&["analyze", "blame"], 0, "s identity"),
            (&["reset", "identity"], 0, "identity is forgotten"),
            (&["reset", "awx"], 0, "awx was not known"),
        ],
    );
    let (code, data, _) = ran(&node, &["plan", "--format", "json"]);
    let plan: Value = serde_json::from_str(&data).expect("JSON");
    assert_eq!((code, plan["steps"].as_array().map(Vec::len)), (Some(0), Some(9)));
    assert!(plan["values"].as_array().is_some_and(|values| values.len() > 20), "{plan:#}");
}

#[test]
fn a_status_that_nobody_stands_behind_any_more_is_not_believed() {
    let cloud = Cloud::start();
    let mut node = Node::new(&cloud, 0, "");
    node.start();
    let first = node.wait_done();
    check(
        &node,
        &[(&["status"], 0, "done: i-"), (&["status", "--format", "json"], 0, "\"agent\": \"works\"")],
    );
    node.kill();
    check(
        &node,
        &[
            (&["status"], 2, "THE AGENT DOES NOT RUN"),
            (&["status", "--format", "json"], 2, "\"agent\": \"gone\""),
            (&["status", "--wait", "--timeout", "300ms"], 75, "THE AGENT DOES NOT RUN"),
        ],
    );
    // Who waits from before the next one's start waits for its word.
    let waits = node.command(&["status", "--wait", "--timeout", "60s", "--format", "json"]);
    let waits = { waits }.stdout(Stdio::piped()).spawn().expect("it runs");
    node.start();
    let output = waits.wait_with_output().expect("it ends");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &said["pid"]), (Some(0), &Value::from(node.pid())));
    // The node was ready when it was ready, however often its agent starts.
    let again = node.wait_done();
    assert_eq!(again.ready, first.ready);
    node.reboot();
    node.start();
    let again = node.wait_done();
    assert_eq!((again.ready, state_of(&again, Step::Ready)), (first.ready, State::Done));
}

/// The same command by somebody to whom `/proc` shows no process of others.
fn hidden(command: &Command) -> Command {
    let mut hidden = Command::new("unshare");
    hidden
        .args(["--mount", "--", "sh", "-c"])
        .arg(
            "mount -t proc -o hidepid=2 proc /proc && \
             exec setpriv --regid=65534 --clear-groups --bounding-set=-sys_ptrace \"$0\" \"$@\"",
        )
        .arg(command.get_program())
        .args(command.get_args());
    hidden
}

#[test]
fn an_agent_that_proc_does_not_show_is_not_called_dead() {
    let cloud = Cloud::start();
    let mut node = Node::new(&cloud, 0, "");
    node.start();
    node.wait_done();
    let status = |node: &Node| {
        let output = hidden(&node.command(&["status"])).output();
        let output = output.expect("unshare and setpriv are missing: apt-get install util-linux");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (output.status.code(), said)
    };
    let own = format!("ls /proc/{}", node.pid());
    let mut look = Command::new("sh");
    look.args(["-c", &own]);
    let seen = hidden(&look).output().expect("it runs");
    assert!(!seen.status.success(), "it is hidden: {seen:?}");
    let (code, said) = status(&node);
    assert_eq!(code, Some(0), "{said:?}");
    node.kill();
    let (code, said) = status(&node);
    assert_eq!(code, Some(2), "{said:?}");
    assert!(said[0].contains("THE AGENT DOES NOT RUN"), "{said:?}");
}

#[test]
fn plan_does_not_pass_the_files_alone_off_as_what_holds() {
    let cloud = Cloud::start();
    let mut node = Node::new(&cloud, 0, "");
    node.start();
    node.wait_done();
    check(&node, &[(&["plan"], 0, "watch.verify")]);
    let said = node.path().join("run/said.json");
    fs::write(&said, "{\"parameters\": 7").expect("written");
    let (code, data, talk) = ran(&node, &["plan"]);
    assert_eq!((code, data.as_str()), (Some(69), ""), "{talk}");
    assert!(
        talk.contains("failed to read what parameters and tags say: ") && !talk.contains("files alone"),
        "{talk}"
    );
}

#[test]
fn plan_shows_what_parameters_and_tags_say_and_who_said_what() {
    let cloud = Cloud::start();
    let endpoint = cloud.server.endpoint();
    let more = format!("parameters {{\n  endpoint = \"{endpoint}\"\n}}\nwatch {{\n  samples = \"9s\"\n}}\n");
    let mut node = Node::new(&cloud, 0, &more);
    cloud.put_parameter("/muster/web/watch", "String", "watch {\n  verify = \"1m\"\n  samples = \"7s\"\n}\n");
    cloud.tag(&node.instance, "muster.parameters.path", "/muster/web");
    node.start();
    node.wait_done();
    let (code, text, talk) = ran(&node, &["plan"]);
    assert_eq!((code, talk.as_str()), (Some(0), ""));
    let line = |path: &str| {
        let found = text.lines().find(|line| line.starts_with(path) && line.contains(" = "));
        found.map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")).unwrap_or_default()
    };
    assert_eq!(line("watch.verify"), "\"1m\" # ssm:/muster/web/watch:2", "{text}");
    assert_eq!(line("watch.samples"), "\"7s\" # ssm:/muster/web/watch:3", "{text}");
    assert_eq!(line("parameters.path"), "\"/muster/web\" # tag:muster.parameters.path", "{text}");
    assert_eq!(line("watch.notices"), "\"1s\" # default", "{text}");
    assert!(line("parameters.endpoint").contains("bootstrap.hcl:"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("nomad") && line.ends_with("not wanted")), "{text}");
    let (code, data, _) = ran(&node, &["plan", "--format", "json"]);
    let plan: Value = serde_json::from_str(&data).expect("JSON");
    let verify =
        plan["values"].as_array().expect("a list").iter().find(|value| value["path"] == "watch.verify");
    assert_eq!(
        (code, &verify.expect("a value")["origin"]),
        (Some(0), &Value::from("ssm:/muster/web/watch:2"))
    );
}

#[test]
fn the_files_of_conf_d_are_read_after_the_first_in_the_order_of_their_names() {
    let cloud = Cloud::start();
    let node =
        Node::new(&cloud, 0, "watch {\n  verify = \"1m\"\n  samples = \"9s\"\n  notices = \"2s\"\n}\n");
    let beside = node.path().join("conf.d");
    fs::create_dir(&beside).expect("made");
    for (name, text) in [
        ("20-more.hcl", "watch {\n  samples = \"8s\"\n}\n"),
        ("10-first.hcl", "watch {\n  samples = \"7s\"\n  verify = \"2m\"\n}\n"),
        ("30-other.txt", "what is no HCL"),
    ] {
        fs::write(beside.join(name), text).expect("written");
    }
    let (code, text, talk) = ran(&node, &["plan"]);
    assert_eq!(code, Some(0), "{talk}");
    for (path, value, file) in [
        ("watch.samples", "\"8s\"", "conf.d/20-more.hcl:2"),
        ("watch.verify", "\"2m\"", "conf.d/10-first.hcl:3"),
        ("watch.notices", "\"2s\"", "bootstrap.hcl:"),
    ] {
        let line = text.lines().find(|line| line.starts_with(path)).unwrap_or_default();
        assert!(line.contains(value) && line.contains(file), "{path}: {text}");
    }
    fs::create_dir(beside.join("40-none.hcl")).expect("made");
    check(&node, &[(&["plan"], 78, "conf.d/40-none.hcl"), (&["run"], 78, "conf.d/40-none.hcl")]);
}

fn files_of(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(&at).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(directory).expect("within").display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_image_is_sealed_of_everything_that_the_agent_or_root_wrote_and_that_is_proved() {
    let image = tempfile::tempdir().expect("a directory");
    let root = image.path();
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    };
    let configuration = r#"
identity {
  certificates = ["/etc/muster/aws.pem"]
}
host {
  file "consul" {
    path = "/etc/consul.d/muster.json"
  }
  file "nomad" {
    path = "/etc/nomad.d/muster.json"
  }
  file "node_exporter" {
    path = "/etc/default/prometheus-node-exporter"
  }
  file "app" {
    path = "/etc/app.conf"
  }
  directory "nomad" {
    path = "/var/lib/nomad"
  }
}
monitoring {
}
vault {
  approle {
    keep_file = "/var/lib/keep/secret-id"
  }
  template "key" {
    path = "/srv/app/key"
    on_disk = true
  }
}
"#;
    let stays = [
        "etc/consul.d/base.hcl",
        "etc/default/prometheus-node-exporter",
        "etc/machine-id",
        "etc/muster/aws.pem",
        "etc/muster/bootstrap.hcl",
        "usr/bin/muster-bootstrap",
    ];
    for path in stays {
        write(path, "x");
    }
    write("etc/muster/bootstrap.hcl", configuration);
    let goes = [
        "etc/app.conf",
        "etc/consul.d/muster.json",
        "etc/nomad.d/muster.json",
        "etc/ssh/ssh_host_rsa_key",
        "root/.ssh/id_rsa",
        "run/muster/status.json",
        "srv/app/key",
        "var/lib/amazon/ssm/Vault/Store/RegistrationKey",
        "var/lib/keep/secret-id",
        "var/lib/muster/awx/17.json",
        "var/lib/muster/i-0123456789abcdef0/awx.json",
        "var/lib/nomad/client/client-id",
    ];
    for path in goes {
        write(path, "x");
    }
    let run = |command: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_muster-bootstrap"))
            .env_clear()
            .args([command, "--root"])
            .arg(root)
            .output()
            .expect("it runs");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (output.status.code(), said)
    };
    let (code, [_, talk]) = run("verify-image");
    assert_eq!(code, Some(1), "{talk}");
    for path in goes {
        let above = Path::new(path).ancestors().any(|above| {
            above.components().count() > 1
                && talk.contains(&format!("still there: {}:", root.join(above).display()))
        });
        assert!(above, "{path} is not told of\n{talk}");
    }
    let (code, [data, talk]) = run("seal");
    assert_eq!(code, Some(0), "{data}{talk}");
    assert_eq!(files_of(root), stays);
    assert_eq!(fs::read_to_string(root.join("etc/machine-id")).expect("it stays"), "");
    let (code, [data, talk]) = run("verify-image");
    assert_eq!((code, data.as_str()), (Some(0), ""), "{talk}");
    assert!(talk.contains("holds nothing that two instances must not share"), "{talk}");
}

#[test]
fn root_is_started_once_for_requests_that_follow_each_other_and_goes_by_what_the_files_say_then() {
    let cloud = Cloud::start();
    let node = Node::new(&cloud, 0, "");
    let metadata = cloud.metadata(&node.instance);
    let allow = |file: &str| {
        let rule = format!("host {{\n  file \"{file}\" {{\n    path = \"$PLACE/made/{file}\"\n  }}\n}}\n");
        node.configure(&metadata, &rule);
    };
    // A run directory of its own: the node's is served by its own root.
    let run = node.path().join("asked");
    let spool = Arc::new(Spool::open(&run.join("host"), Arc::new(SystemClock::new())).expect("a spool"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ask = |file: &str| -> Result<Done, HostError> {
        let request = Request::Place { file: file.to_owned(), contents: Contents("{}".to_owned()) };
        let asked = async { tokio::time::timeout(Duration::from_secs(30), spool.ask(request)).await };
        runtime.block_on(asked).expect("root is there")
    };
    allow("one");
    // With the mask of its unit.
    let mut command = Command::new("/bin/sh");
    command.env_clear().stderr(Stdio::piped()).args(["-c", "umask 0077; exec \"$@\"", "sh"]);
    command
        .args([env!("CARGO_BIN_EXE_muster-bootstrap"), "host", "--user", "root"])
        .arg("--config")
        .arg(node.path().join("bootstrap.hcl"));
    command.arg("--state-directory").arg(node.path().join("state"));
    command.arg("--run-directory").arg(&run);
    let root = std::thread::scope(|scope| {
        let first = scope.spawn(|| ask("one"));
        // A path unit starts it once there is a request.
        while fs::read_dir(run.join("host/requests")).expect("listed").count() == 0 {
            std::thread::yield_now();
        }
        let root = command.spawn().expect("it starts");
        assert_eq!(first.join().expect("it ends"), Ok(Done::Changed));
        root
    });
    allow("two");
    assert_eq!(ask("two"), Ok(Done::Changed));
    let refused = ask("one").expect_err("the files allow it no more");
    assert!(refused.to_string().contains("one"), "{refused}");
    let ended = root.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success() && said.contains("answered=3"), "{said}");
    // A file's owner is to come to it.
    let mode = fs::metadata(node.path().join("made")).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o755);
}
