//! Disks that are full, or turn read-only, under an agent that runs.

use super::said;
use crate::awx_server::{Awx, KEY, TOKEN};
use crate::ground::{Cloud, Node, state_of};
use crate::logins::server_with_approle;
use crate::services::Site;
use bootstrap_core::{State, Step};
use muster_test_servers::{VaultKind, port, wait_for};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is wrong with a file system.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Full,
    ReadOnly,
}

impl Wrong {
    const ALL: [Self; 2] = [Self::Full, Self::ReadOnly];

    const fn words(self) -> &'static str {
        match self {
            Self::Full => "No space left on device",
            Self::ReadOnly => "Read-only file system",
        }
    }
}

/// A small file system of its own.
struct Small {
    at: PathBuf,
}

impl Small {
    /// In place of a directory, or of a link to one. Beneath a node's place it goes with that, whatever happens.
    fn mount(at: PathBuf) -> Self {
        if at.is_symlink() {
            fs::remove_file(&at).expect("a link");
        }
        fs::create_dir_all(&at).expect("a directory");
        call("mount", &["-t", "tmpfs", "-o", "size=512k,mode=0755", "muster-test"], &at);
        Self { at }
    }

    fn turn(&self, wrong: Wrong) {
        match wrong {
            Wrong::Full => {
                let mut filler = File::create(self.at.join("filler")).expect("a file");
                // Down to the last byte.
                for size in [4096, 1] {
                    while filler.write_all(&vec![b'x'; size]).is_ok() {}
                }
            }
            Wrong::ReadOnly => call("mount", &["-o", "remount,ro"], &self.at),
        }
    }

    fn mend(&self, wrong: Wrong) {
        match wrong {
            Wrong::Full => fs::remove_file(self.at.join("filler")).expect("it is there"),
            Wrong::ReadOnly => call("mount", &["-o", "remount,rw"], &self.at),
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        call("umount", &["--lazy"], &self.at);
    }
}

fn call(program: &str, arguments: &[&str], at: &Path) {
    let output = Command::new(program).args(arguments).arg(at).output().expect("util-linux is there");
    assert!(output.status.success(), "{program} needs root: {output:?}");
}

fn node(cloud: &Cloud, awx: &Awx, number: usize) -> Node {
    let text = format!(
        "awx {{\n  address = \"{}\"\n  template = 7\n  key_file = \"$PLACE/key\"\n  token_file = \"$PLACE/token\"\n  \
         jitter = \"0s\"\n}}\n{}",
        awx.address(),
        ["identity", "time", "configuration", "awx", "ready"]
            .map(|step| format!("step \"{step}\" {{\n  pause = \"1s\"\n  most_pause = \"1s\"\n}}\n"))
            .concat()
    );
    let node = Node::new(cloud, number, &text);
    fs::write(node.path().join("key"), KEY).expect("written");
    fs::write(node.path().join("token"), TOKEN).expect("written");
    node
}

fn line(node: &Node, step: Step) -> Option<Value> {
    let path = node.path().join("state").join(node.instance.as_str()).join(format!("{step}.json"));
    fs::read_to_string(path).ok().map(|text| serde_json::from_str(&text).expect("a line"))
}

/// Waits until its number is on disk.
fn wait_for_job(node: &Node) {
    wait_for("the job's number on disk", || {
        line(node, Step::Awx)
            .filter(|line| line["note"].as_str().is_some_and(|note| note.starts_with("job 1")))
    });
}

#[test]
fn a_boot_that_can_write_nothing_down_does_nothing_and_says_so_until_it_can() {
    let cloud = Cloud::start();
    for (number, wrong) in Wrong::ALL.into_iter().enumerate() {
        let awx = Awx::start();
        awx.state().ends_as = "successful";
        let mut node = node(&cloud, &awx, number);
        let disk = Small::mount(node.path().join("state"));
        disk.turn(wrong);
        node.start();
        let status =
            node.wait_until("what is wrong", |status| said(status, Step::Identity).contains(wrong.words()));
        assert_eq!(state_of(&status, Step::Identity), State::Retrying, "{wrong:?}");
        assert_eq!(state_of(&status, Step::Awx), State::Waiting, "{wrong:?}");
        assert_eq!(awx.state().callbacks, 0, "{wrong:?}: nobody is asked before that is written down");
        assert!(!node.path().join("run/ready").exists());
        disk.mend(wrong);
        let status = node.wait_done();
        for step in status.report.steps.iter().filter(|step| step.state == State::Done) {
            assert_eq!(line(&node, step.step).expect("a line")["phase"], "done", "{wrong:?}: {}", step.step);
        }
        assert_eq!(awx.state().jobs.len(), 1);
        node.kill();
    }
}

#[test]
fn a_job_that_ends_while_the_disk_takes_nothing_is_not_said_to_be_done_before_that_is_on_disk() {
    let cloud = Cloud::start();
    for (number, wrong) in Wrong::ALL.into_iter().enumerate() {
        let awx = Awx::start();
        let mut node = node(&cloud, &awx, number);
        let disk = Small::mount(node.path().join("state"));
        node.start();
        wait_for_job(&node);
        disk.turn(wrong);
        awx.end("successful", "");
        let status =
            node.wait_until("what is wrong", |status| said(status, Step::Awx).contains(wrong.words()));
        assert_ne!(state_of(&status, Step::Awx), State::Done, "{wrong:?}");
        assert_eq!(state_of(&status, Step::Ready), State::Waiting, "{wrong:?}");
        assert_eq!(line(&node, Step::Awx).expect("the line before")["phase"], "intent");
        // A power cut now loses nothing either.
        if number == 0 {
            node.kill();
            node.start();
        }
        disk.mend(wrong);
        node.wait_done();
        let line = line(&node, Step::Awx).expect("a line");
        assert_eq!(line["phase"], "done");
        assert!(line["note"].as_str().is_some_and(|note| note.starts_with("ended 1 of ")), "{line}");
        let state = awx.state();
        assert_eq!((state.callbacks, state.jobs.len()), (1, 1), "{wrong:?}: nobody asked again");
        node.kill();
    }
}

#[test]
fn a_node_that_works_goes_on_working_on_a_disk_that_takes_nothing() {
    let cloud = Cloud::start();
    for (number, wrong) in Wrong::ALL.into_iter().enumerate() {
        let awx = Awx::start();
        awx.state().ends_as = "successful";
        let mut node = node(&cloud, &awx, number);
        let disk = Small::mount(node.path().join("state"));
        node.start();
        node.wait_done();
        disk.turn(wrong);
        node.kill();
        node.start();
        node.wait_done();
        assert!(node.path().join("run/ready").exists());
        assert_eq!(awx.state().jobs.len(), 1, "{wrong:?}");
        node.kill();
    }
}

#[test]
fn a_run_directory_that_takes_nothing_is_told_and_no_work_is_let_in_until_it_does() {
    let cloud = Cloud::start();
    for (number, wrong) in Wrong::ALL.into_iter().enumerate() {
        let awx = Awx::start();
        let mut node = node(&cloud, &awx, number);
        let run = Small::mount(node.path().join("run"));
        node.start();
        wait_for_job(&node);
        run.turn(wrong);
        awx.end("successful", "");
        // Its status cannot be written either: the journal has it, and so has systemd.
        wait_for("what is wrong in the log", || {
            let log = node.log();
            let told =
                |part: &str| log.lines().any(|line| line.contains(part) && line.contains(wrong.words()));
            (told("could not write the status") && told("ready")).then_some(())
        });
        assert!(!node.path().join("run/ready").exists());
        assert_eq!(line(&node, Step::Awx).expect("a line")["phase"], "done");
        run.mend(wrong);
        node.wait_done();
        assert!(node.path().join("run/ready").exists());
        assert_eq!(awx.state().jobs.len(), 1);
        node.kill();
    }
}

#[test]
fn a_disk_that_root_can_write_nothing_to_is_told_of_the_step_that_needs_it() {
    let cloud = Cloud::start();
    for (number, wrong) in Wrong::ALL.into_iter().enumerate() {
        let at = port();
        let text = format!(
            "host {{\n  units = [\"prometheus-node-exporter.service\"]\n  file \"node_exporter\" {{\n    \
             path = \"$PLACE/etc/node_exporter.env\"\n    mode = \"0644\"\n  }}\n}}\nmonitoring {{\n  \
             address = \"http://{at}/metrics\"\n  arguments = [\"--web.listen-address={at}\"]\n}}\n\
             step \"monitoring\" {{\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"30m\"\n}}\n"
        );
        let mut node = Node::new(&cloud, number, &text);
        crate::agents::set_exporter(&node);
        let disk = Small::mount(node.path().join("etc"));
        // Its unit reads what stands there.
        std::os::unix::fs::symlink("etc/node_exporter.env", node.path().join("node_exporter.env"))
            .expect("made");
        disk.turn(wrong);
        node.start();
        let status =
            node.wait_until("what is wrong", |status| said(status, Step::Monitoring).contains(wrong.words()));
        assert!(said(&status, Step::Monitoring).contains("node_exporter.env"), "{status:?}");
        assert_eq!(state_of(&status, Step::Ready), State::Waiting, "{wrong:?}");
        assert!(node.units.done().is_empty(), "nothing is started that is not configured");
        disk.mend(wrong);
        node.wait_done();
        let left = fs::read_dir(&disk.at).expect("it is there").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["node_exporter.env"], "and nothing half written");
        node.kill();
    }
}

#[test]
fn secrets_that_find_no_place_are_told_leave_what_was_there_and_come_when_they_do() {
    let cloud = Cloud::start();
    let vault = server_with_approle(VaultKind::OpenBao);
    for (number, wrong) in Wrong::ALL.into_iter().enumerate() {
        vault.call("POST", "kv/web", &json!({"password": "first"}));
        let text = format!(
            "vault {{\n  address = \"{}\"\n  token_file = \"$PLACE/small/token\"\n  refresh = \"5s\"\n  approle {{\n    \
             role_id_file = \"$PLACE/role_id\"\n    secret_id_file = \"$PLACE/run/secret_id\"\n  }}\n  template \"web\" {{\n    \
             source = \"$PLACE/web.tmpl\"\n    path = \"$PLACE/small/web\"\n  }}\n}}\nstep \"vault\" {{\n  attempt = \"10s\"\n  \
             pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"30m\"\n}}\n",
            vault.address()
        );
        let mut node = Node::new(&cloud, number, &text);
        let of_role = |method: &str, path: &str, field: &str| {
            let answer = vault.call(method, &format!("auth/approle/role/node/{path}"), &json!({}));
            answer["data"][field].as_str().expect("a text").to_owned()
        };
        fs::write(node.path().join("role_id"), of_role("GET", "role-id", "role_id")).expect("written");
        fs::write(node.path().join("run/secret_id"), of_role("POST", "secret-id", "secret_id"))
            .expect("written");
        fs::write(node.path().join("web.tmpl"), "{{ secret('kv/web').password }}\n").expect("written");
        let small = Small::mount(node.path().join("small"));
        let (token, web) = (small.at.join("token"), small.at.join("web"));

        small.turn(wrong);
        node.start();
        let status =
            node.wait_until("what is wrong", |status| said(status, Step::Vault).contains(wrong.words()));
        assert!(said(&status, Step::Vault).contains(&small.at.display().to_string()), "{status:?}");
        assert_eq!(state_of(&status, Step::Ready), State::Waiting, "{wrong:?}");
        small.mend(wrong);
        node.wait_done();
        assert_eq!(fs::read_to_string(&web).expect("a secret"), "first\n");
        assert!(vault.knows(fs::read_to_string(&token).expect("a token").trim()));

        // One that works goes on with what it has.
        let before = node.log().len();
        small.turn(wrong);
        vault.call("POST", "kv/web", &json!({"password": "second"}));
        wait_for("what is wrong in the log", || {
            let log = node.log().split_off(before);
            let told = |line: &str| line.contains("small/web") && line.contains(wrong.words());
            log.lines().any(told).then_some(())
        });
        assert_eq!(fs::read_to_string(&web).expect("a secret"), "first\n", "{wrong:?}: it is whole");
        assert!(vault.knows(fs::read_to_string(&token).expect("a token").trim()));
        small.mend(wrong);
        node.verify_until("the new secret", || {
            fs::read_to_string(&web).is_ok_and(|text| text == "second\n").then_some(())
        });
        node.wait_done();
        let mut left: Vec<_> = fs::read_dir(&small.at)
            .expect("it is there")
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        left.sort();
        assert_eq!(left, ["token", "web"], "and nothing half written");
        node.kill();
    }
}

#[test]
fn files_of_consul_and_nomad_that_find_no_place_are_told_of_their_step_and_nobody_starts_without_them() {
    const QUICK: &str =
        "  attempt = \"10s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"30m\"\n";
    let patient = ["consul", "nomad"].map(|step| format!("step \"{step}\" {{\n{QUICK}}}\n")).concat();
    for wrong in Wrong::ALL {
        let mut site = Site::new("\"raw_exec\"", &patient);
        let place = site.node.path().to_owned();
        let configuration = place.join("bootstrap.hcl");
        let mut text = fs::read_to_string(&configuration).expect("it is there");
        let disks = ["consul", "nomad"].map(|name| {
            text = text.replace(&format!("/{name}.json\""), &format!("/{name}.d/{name}.json\""));
            let disk = Small::mount(place.join(format!("{name}.d")));
            // Its unit reads what stands there.
            let file = place.join(format!("{name}.json"));
            std::os::unix::fs::symlink(disk.at.join(format!("{name}.json")), file).expect("made");
            disk.turn(wrong);
            disk
        });
        fs::write(configuration, text).expect("written");
        site.node.start();
        for ((disk, step), name) in disks.iter().zip([Step::Consul, Step::Nomad]).zip(["consul", "nomad"]) {
            let status =
                site.node.wait_until("what is wrong", |status| said(status, step).contains(wrong.words()));
            assert!(said(&status, step).contains(&format!("{name}.json")), "{status:?}");
            assert_eq!(state_of(&status, Step::Ready), State::Waiting, "{wrong:?}");
            assert_eq!(site.did(&format!("restart {name}.service")), 0, "{wrong:?}: not without its file");
            disk.mend(wrong);
            site.node.wait_state(step, State::Done);
            assert!(site.did(&format!("restart {name}.service")) > 0);
        }
        site.node.wait_done();
        for (disk, name) in disks.iter().zip(["consul.json", "nomad.json"]) {
            let left = fs::read_dir(&disk.at).expect("it is there").flatten();
            let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
            assert_eq!(left, [name], "and nothing half written");
        }
    }
}

#[test]
fn an_agent_that_is_started_on_a_run_directory_that_is_read_only_says_so_and_ends_to_be_started_again() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().ends_as = "successful";
    let mut node = node(&cloud, &awx, 0);
    let run = Small::mount(node.path().join("run"));
    run.turn(Wrong::ReadOnly);
    let ran = node.command(&["run"]).output().expect("it runs");
    assert_eq!(ran.status.code(), Some(75), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("Read-only file system"), "{ran:?}");
    run.mend(Wrong::ReadOnly);
    node.start();
    node.wait_done();
}
