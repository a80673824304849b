//! Packages that the agent has installed by the real dpkg, and what becomes of an instance that cannot be made what it
//! has to be.

use crate::agents::on_path;
use crate::ground::{Cloud, failure_of};
use crate::machine::{Machine, UNIT};
use bootstrap_core::Step;
use muster_test_servers::{Consul, ConsulOptions};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

const EXPORTER: &str = "prometheus-node-exporter";
const SERVICE: &str = "prometheus-node-exporter.service";
const VERSION: &str = "1.5.0-muster1";

/// A node that has its exporter by a package of that version and SHA-256.
///
/// * `host`, `step`: more of the block `host`, and of the step's.
fn configuration(version: &str, sha256: &str, host: &str, step: &str) -> String {
    format!(
        r#"
host {{
  units = ["{SERVICE}", "consul.service"]
  file "node_exporter" {{
    path = "/etc/default/{EXPORTER}"
  }}
  package "exporter" {{
    path = "/opt/exporter.deb"
    version = "{version}"
    sha256 = "{sha256}"
  }}
{host}
}}
monitoring {{
  package = "exporter"
}}
step "monitoring" {{
  pause = "1s"
  most_pause = "1s"
{step}
}}
watch {{
  verify = "10s"
}}
"#
    )
}

/// The version of the exporter that is installed.
fn installed(machine: &Machine) -> String {
    machine.run(&["dpkg-query", "--show", "--showformat=${Version}", EXPORTER])
}

/// Makes a Debian package of a version, with an exporter and its unit. * returns: its SHA-256.
fn exporter_package(place: &Path, file: &Path, version: &str) -> String {
    let tree = place.join("tree");
    let write = |path: &str, text: &str| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    };
    write(
        "DEBIAN/control",
        &format!(
            "Package: prometheus-node-exporter\nVersion: {version}\nArchitecture: all\nMaintainer: muster\n\
             Description: an exporter, for a test\n"
        ),
    );
    write(
        "lib/systemd/system/prometheus-node-exporter.service",
        "[Service]\nEnvironmentFile=/etc/default/prometheus-node-exporter\nExecStart=/usr/bin/prometheus-node-exporter $ARGS\n",
    );
    let program = on_path("prometheus-node-exporter", "prometheus-node-exporter");
    fs::create_dir_all(tree.join("usr/bin")).expect("made");
    fs::copy(program, tree.join("usr/bin/prometheus-node-exporter")).expect("copied");
    let run = |command: &mut Command| {
        let output = command.output().expect("dpkg-deb and sha256sum are in every Debian");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).arg(&tree).arg(file));
    let digest = run(Command::new("sha256sum").arg(file));
    digest.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn an_exporter_that_is_missing_is_installed_if_it_is_the_one_that_was_meant() {
    let cloud = Cloud::start();
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("exporter.deb");
    let newer = "1.5.0-muster2";
    let sha256 = exporter_package(place.path(), &file, VERSION);
    let other = "0".repeat(64);
    let mut machine = Machine::new(&cloud, |_| configuration(VERSION, &other, "", ""));
    machine.chroot(&["dpkg", "--purge", EXPORTER]);
    fs::copy(&file, machine.root().join("opt/exporter.deb")).expect("copied");
    machine.boot();
    let failure = machine.wait_until("a package that is not the one", || {
        let status = machine.status()?;
        Some(failure_of(&status, Step::Monitoring)).filter(|failure| !failure.is_empty())
    });
    assert!(failure.contains(&format!("has the SHA-256 {sha256}, not {other}")), "{failure}");
    let text = machine.run(&["cat", "/etc/muster/bootstrap.hcl"]).replace(&other, &sha256);
    machine.write("etc/muster/bootstrap.hcl", 0o644, &text);
    machine.run(&["systemctl", "restart", "--no-block", UNIT]);
    machine
        .wait_until("an exporter", || (machine.property(SERVICE, "ActiveState") == "active").then_some(()));
    machine.wait_active();
    assert_eq!(installed(&machine), VERSION);

    // Another version, once everything stood: it is not taken for what it is not, and installed where it is that.
    let second = exporter_package(place.path(), &file, newer);
    fs::copy(&file, machine.root().join("opt/newer.deb")).expect("copied");
    let process = machine.property(SERVICE, "MainPID");
    let text = text.replace("/opt/exporter.deb", "/opt/newer.deb").replace(VERSION, newer);
    let with = |digest: &str| {
        machine.write("etc/muster/bootstrap.hcl", 0o644, &text.replace(&sha256, digest));
        machine.run(&["systemctl", "reload", UNIT]);
    };
    with(&other);
    machine.wait_until("a package that is not the one", || {
        let failure = failure_of(&machine.status()?, Step::Monitoring);
        failure.contains(&format!("has the SHA-256 {second}, not {other}")).then_some(())
    });
    assert_eq!(installed(&machine), VERSION);
    with(&second);
    machine.wait_until("the newer exporter", || {
        let (now, status) = (machine.property(SERVICE, "MainPID"), machine.status()?);
        (now != process && now != "0" && status.report.condition == bootstrap_core::Condition::Done)
            .then_some(())
    });
    assert_eq!(installed(&machine), newer);

    // Another program in its place: the one that was meant is installed again, and runs.
    let process = machine.property(SERVICE, "MainPID");
    let program = "/usr/bin/prometheus-node-exporter";
    let meant = machine.run(&["sha256sum", program]);
    machine.run(&["sh", "-c", &format!("cp /bin/sleep {program}.other && mv {program}.other {program}")]);
    machine.run(&["systemctl", "reload", UNIT]);
    machine.wait_until("the program that was meant", || {
        let now = machine.property(SERVICE, "MainPID");
        let is_back = machine.run(&["sha256sum", program]) == meant;
        (is_back && now != process && now != "0").then_some(())
    });
    machine.wait_until("everything to stand", || {
        machine.status().filter(|status| status.report.condition == bootstrap_core::Condition::Done)
    });
}

/// A directory that the package brings a megabyte into, on a file system of its own.
const LIBRARY: &str = "/usr/lib/exporter";

#[test]
fn a_disk_that_is_full_while_a_package_is_installed_is_told_and_it_is_installed_when_there_is_room() {
    let cloud = Cloud::start();
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("exporter.deb");
    let library = place.path().join("tree").join(&LIBRARY[1..]);
    fs::create_dir_all(&library).expect("made");
    fs::write(library.join("data"), vec![b'x'; 1 << 20]).expect("written");
    let sha256 = exporter_package(place.path(), &file, VERSION);
    let mut machine = Machine::new(&cloud, |_| configuration(VERSION, &sha256, "", ""));
    machine.chroot(&["dpkg", "--purge", EXPORTER]);
    fs::copy(&file, machine.root().join("opt/exporter.deb")).expect("copied");
    machine.write("etc/fstab", 0o644, &format!("tmpfs {LIBRARY} tmpfs size=64k,mode=0755 0 0\n"));
    machine.boot();
    let failure = machine.wait_until("a disk that is full", || {
        let failure = failure_of(&machine.status()?, Step::Monitoring);
        (!failure.is_empty()).then_some(failure)
    });
    assert!(failure.contains("No space left on device") && failure.contains(LIBRARY), "{failure}");
    let ready = machine.try_run(&["test", "-e", "/run/muster/ready"]).expect("it runs");
    assert_eq!(ready.status.code(), Some(1), "no work is let in");
    machine.run(&["mount", "-o", "remount,size=8m", LIBRARY]);
    machine.wait_active();
    assert_eq!(installed(&machine), VERSION);
    assert_eq!(machine.property(SERVICE, "ActiveState"), "active");
    let left = machine.run(&["find", LIBRARY, "-type", "f"]);
    assert_eq!(left, format!("{LIBRARY}/data"), "and nothing half written");
}

#[test]
fn an_instance_whose_step_is_to_terminate_it_powers_itself_off_and_is_counted() {
    let cloud = Cloud::start();
    let consul = Consul::start(&ConsulOptions::default());
    let mut machine = Machine::new(&cloud, |machine| {
        let address =
            machine.reachable(consul.address().trim_start_matches("http://").parse().expect("an address"));
        // Consul is there for the count alone: nobody makes this node a part of it.
        let consul = format!(
            "consul {{\n  address = \"http://{address}\"\n}}\nstep \"consul\" {{\n  attempt = \"2s\"\n  \
             deadline = \"2s\"\n  on_failure = \"ignore\"\n}}\n"
        );
        let host = "  power_off = true\n  file \"consul\" {\n    path = \"/etc/consul.json\"\n  }\n  \
                    directory \"consul\" {\n    path = \"/var/lib/consul\"\n  }\n";
        let step = "  attempt = \"4s\"\n  deadline = \"4s\"\n  on_failure = \"terminate\"\n";
        // What the package has to be, it is not.
        configuration(VERSION, &"0".repeat(64), host, step) + &consul
    });
    let instance = machine.instance.clone();
    machine.write("opt/exporter.deb", 0o644, "another package");
    machine.boot();
    machine.wait_off();
    let held = consul.call("GET", "/v1/kv/muster-bootstrap/breaker/?recurse&keys", &Value::Null);
    let key = held[0].as_str().expect("a count of an image");
    let held = consul.call("GET", &format!("/v1/kv/{key}?raw"), &Value::Null);
    assert_eq!(held, json!({"ended": [instance.as_str()]}));
}
