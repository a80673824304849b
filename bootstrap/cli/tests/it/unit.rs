//! The agent as a unit of a real systemd, asked for what needs root by real path units.

use crate::awx_server::{Awx, KEY, TOKEN};
use crate::ground::{Cloud, failure_of, state_of};
use crate::machine::{Machine, UNIT, package};
use bootstrap_core::{Reading, State, Step, runnable};
use muster_test_servers::{Vault, VaultKind, VaultOptions};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// Real monitoring, which root's part of the agent configures and starts.
const MONITORING: &str = r#"
host {
  units = ["prometheus-node-exporter.service"]
  file "node_exporter" {
    path = "/etc/default/prometheus-node-exporter"
    group = "prometheus"
    mode = "0640"
  }
}
monitoring {
}
"#;

fn awx_block(machine: &Machine, awx: &Awx) -> String {
    let awx = machine.reachable(awx.address().trim_start_matches("http://").parse().expect("an address"));
    format!(
        "awx {{\n  address = \"http://{awx}\"\n  template = 7\n  key_file = \"/etc/muster/awx-key\"\n  \
         token_file = \"/etc/muster/awx-token\"\n  jitter = \"0s\"\n}}\n"
    )
}

/// Files that the agent alone may read.
fn secrets(machine: &Machine, files: &[(&str, &str)]) {
    for (path, text) in files {
        machine.write(path, 0o600, &format!("{text}\n"));
        machine.chroot(&["chown", "muster:muster", &format!("/{path}")]);
    }
}

fn with_awx(cloud: &Cloud, awx: &Awx) -> Machine {
    let machine = Machine::new(cloud, |machine| format!("{MONITORING}{}", awx_block(machine, awx)));
    secrets(&machine, &[("etc/muster/awx-key", KEY), ("etc/muster/awx-token", TOKEN)]);
    machine
}

#[test]
fn a_machine_boots_with_the_agent_as_a_unit_without_rights_and_boots_again() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().ends_as = "successful";
    let mut machine = with_awx(&cloud, &awx);
    machine.boot();
    let agent = machine.wait_active();
    assert_eq!(machine.property(UNIT, "Type"), "notify");
    assert_eq!(machine.property(UNIT, "StatusText"), "ready");
    assert_eq!(machine.property(UNIT, "NRestarts"), "0");
    let status = machine.status().expect("a status");
    assert_eq!(status.who.expect("it is known").instance, machine.instance);

    // No rights, and no way to them.
    let process = machine.run(&["cat", &format!("/proc/{agent}/status")]);
    let line = |name: &str| {
        let found = process.lines().find_map(|line| line.strip_prefix(name));
        found.map(str::trim).unwrap_or_default().to_owned()
    };
    let user = machine.run(&["id", "--user", "muster"]);
    assert_eq!(line("Uid:"), [user.as_str(); 4].join("\t"));
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(line(set), "0000000000000000", "{set}");
    }
    assert_eq!((line("NoNewPrivs:"), line("Seccomp:")), ("1".to_owned(), "2".to_owned()));

    // Closed in as it is, it sees the load of the machine: all that the samples for the autoscaler are made of.
    let seen = |path: &str| machine.run(&["nsenter", &format!("--target={agent}"), "--all", "cat", path]);
    let load = [seen("/proc/stat"), seen("/proc/loadavg")];
    let pressure = Path::new("/proc/pressure/cpu").exists().then(|| seen("/proc/pressure/cpu"));
    assert!(pressure.as_ref().is_none_or(|text| text.starts_with("some avg10=")), "{pressure:?}");
    assert!(Reading::parse(&load[0], pressure.as_deref()).is_some(), "{load:?}");
    assert!(runnable(&load[1]).is_some(), "{load:?}");

    // What root did for it, and what others read of it.
    let stat = |path: &str| machine.run(&["stat", "--format=%U:%G %a", path]);
    let placed = "/etc/default/prometheus-node-exporter";
    assert_eq!(stat(placed), "root:prometheus 640");
    assert_eq!(machine.property("prometheus-node-exporter.service", "ActiveState"), "active");
    // It listens where others reach it: at the instance's own address.
    let arguments = machine.run(&["cat", placed]);
    let at = arguments.split_once("--web.listen-address=").map(|(_, rest)| rest);
    let at = at.and_then(|rest| rest.split([' ', '"']).next()).expect("where it listens").to_owned();
    assert!(at.ends_with(":9100") && !at.starts_with("127.0.0.1:"), "{arguments}");
    let metrics = machine.wait_until("the agent's series at the exporter", || {
        let shown = machine.fetch(&format!("http://{at}/metrics"));
        shown.contains("muster_bootstrap_ready 1").then_some(shown)
    });
    assert!(
        metrics.contains(&format!("nodename=\"{}\"", machine.instance)),
        "the exporter is this machine's"
    );
    for (path, is) in [
        ("/run/muster", "muster:muster 755"),
        ("/run/muster/status.json", "muster:muster 644"),
        ("/run/muster/ready", "muster:muster 644"),
        ("/run/muster/metrics", "muster:muster 755"),
        ("/run/muster/host/requests", "muster:muster 700"),
        ("/run/muster/host/answers", "root:root 711"),
        ("/var/lib/muster", "muster:muster 700"),
    ] {
        assert_eq!(stat(path), is, "{path}");
    }
    let of_nobody = [
        "setpriv",
        "--reuid=prometheus",
        "--clear-groups",
        "cat",
        "/run/muster/metrics/muster_bootstrap.prom",
    ];
    machine.run(&of_nobody);

    // The journal has what happened as fields.
    let journal = machine.journal();
    let ours: Vec<&Value> = journal.iter().filter(|entry| entry["_SYSTEMD_UNIT"] == UNIT).collect();
    assert!(
        ours.iter().any(|entry| entry["MUSTER_STATUS"] == "ready" && entry["MESSAGE"] == "came this far"),
        "{ours:#?}"
    );
    assert!(ours.iter().any(|entry| entry["MUSTER_VERSION"].is_string()), "{ours:#?}");
    let of_awx: Vec<&&Value> = ours.iter().filter(|entry| entry["MUSTER_STEP"] == "awx").collect();
    assert_eq!(of_awx.iter().filter(|entry| entry["MESSAGE"] == "a step was done").count(), 1, "{of_awx:#?}");

    // A machine that is given another name is so to the agent, too, which looks for it in the exporter's series.
    let host = |process: &str| machine.run(&["readlink", &format!("/proc/{process}/ns/uts")]);
    assert_eq!(host(&agent.to_string()), host("1"));

    // Once more: what was done stands, what lived in memory is made again.
    let written = machine.run(&["stat", "--format=%i %y", placed]);
    machine.reboot();
    machine.wait_active();
    let status = machine.status().expect("a status");
    assert!(status.alarms.is_empty(), "{status:#?}");
    assert_eq!(state_of(&status, Step::Monitoring), State::Done);
    assert_eq!(machine.run(&["stat", "--format=%i %y", placed]), written, "not written again");
    assert_eq!(awx.state().callbacks, 1, "asked for once in two boots");
}

#[test]
fn an_agent_that_is_killed_or_hangs_is_started_again_and_takes_up_where_it_was() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().ends_as = "successful";
    let mut machine = with_awx(&cloud, &awx);
    machine.drop_in("[Service]\nWatchdogSec=4s\nRestartSec=100ms\n");
    machine.boot();
    let first = machine.wait_active();
    let another = |before: u32| {
        machine.wait_until("another process", || {
            let pid: u32 = machine.property(UNIT, "MainPID").parse().ok()?;
            (pid != before && pid != 0).then_some(())
        });
        machine.wait_active()
    };
    machine.run(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT]);
    let second = another(first);
    assert_eq!(machine.property(UNIT, "NRestarts"), "1");
    // It feeds no watchdog any more.
    machine.run(&["systemctl", "kill", "--kill-whom=main", "--signal=STOP", UNIT]);
    let third = another(second);
    assert_ne!(third, first);
    assert_eq!(machine.property(UNIT, "NRestarts"), "2");
    let journal = machine.journal();
    let told = |words: &str| {
        journal.iter().any(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.contains(words)))
    };
    assert!(told("Watchdog timeout"), "systemd says why");
    assert_eq!(awx.state().callbacks, 1, "nothing is done twice");
}

/// Only what is built for tests can be told to hang.
#[cfg(debug_assertions)]
#[test]
fn a_watch_that_looks_for_no_notices_any_more_is_missed_by_systemd_though_the_steps_go_on() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().ends_as = "successful";
    let mut machine = with_awx(&cloud, &awx);
    machine.drop_in(
        "[Service]\nWatchdogSec=4s\nRestartSec=100ms\nExecStart=\nExecStart=/usr/bin/muster-bootstrap run --hang\n",
    );
    machine.boot();
    let first = machine.wait_active();
    // Nothing is the matter with its process, and its steps are looked at.
    let seen = machine.status().expect("a status").updated;
    machine.run(&["systemctl", "reload", UNIT]);
    machine.wait_until("another look", || machine.status().filter(|status| status.updated > seen));
    machine.wait_until("another process", || {
        let pid: u32 = machine.property(UNIT, "MainPID").parse().ok()?;
        (pid != first && pid != 0).then_some(())
    });
    machine.wait_active();
    let journal = machine.journal();
    let said = |words: &str| {
        journal.iter().any(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.contains(words)))
    };
    assert!(said("nobody has looked for notices lately"), "it knows by itself");
    assert!(said("Watchdog timeout"), "systemd says why");
    assert_eq!(awx.state().callbacks, 1, "nothing is done twice");
}

/// Waits until systemd has given the unit up, at its first end.
fn must_be_given_up(machine: &Machine, code: &str) {
    machine.wait_until("a unit that is given up", || {
        (machine.property(UNIT, "ActiveState") == "failed").then_some(())
    });
    assert_eq!(machine.property(UNIT, "ExecMainStatus"), code);
    assert_eq!(machine.property(UNIT, "NRestarts"), "0");
}

#[test]
fn files_that_turn_wrong_allow_nothing_and_the_unit_that_starts_on_them_is_given_up() {
    let cloud = Cloud::start();
    let quick = "step \"monitoring\" {\n  pause = \"1s\"\n  most_pause = \"1s\"\n}\n";
    let mut machine = Machine::new(&cloud, |_| format!("{MONITORING}{quick}"));
    machine.boot();
    machine.wait_active();
    let file = "etc/muster/bootstrap.hcl";
    let right = machine.run(&["cat", &format!("/{file}")]);
    machine.write(file, 0o644, &format!("{right}\nwatch {{\n  verify = 7\n}}\n"));
    machine.run(&["systemctl", "stop", "prometheus-node-exporter.service"]);
    machine.run(&["systemctl", "reload", UNIT]);
    // Its requests are answered: one that stays would have root's part started again and again.
    let status = machine.wait_until("a refusal", || {
        let status = machine.status()?;
        failure_of(&status, Step::Monitoring).contains("the `host` block does not allow it").then_some(status)
    });
    assert!(status.alarms.iter().any(|alarm| alarm.contains("watch.verify")), "{status:#?}");
    // With nobody to restart it in vain.
    let _ = machine.try_run(&["systemctl", "restart", UNIT]);
    must_be_given_up(&machine, "78");
    machine.write(file, 0o644, &right);
    machine.run(&["systemctl", "restart", "--no-block", UNIT]);
    machine.wait_active();
    assert_eq!(machine.property("prometheus-node-exporter.service", "ActiveState"), "active");
    // Nor is one started again that is called as nobody can call it.
    machine.drop_in("[Service]\nExecStart=\nExecStart=/usr/bin/muster-bootstrap run --fly\n");
    machine.run(&["systemctl", "daemon-reload"]);
    let _ = machine.try_run(&["systemctl", "restart", UNIT]);
    must_be_given_up(&machine, "64");
}

/// Whether the kernel's clock is synchronised, as this machine's own PID 1 says: the machine has no other clock.
#[test]
fn the_unit_without_rights_hears_whether_the_kernels_clock_is_synchronised() {
    let cloud = Cloud::start();
    let mut machine = Machine::new(&cloud, |_| String::new());
    let front =
        crate::front::Front::start(cloud.server.addr(), &machine.instance, Ipv4Addr::LOCALHOST.into());
    front.without_date();
    let metadata = machine.reachable(front.at());
    machine.write(
        "etc/muster/bootstrap.hcl",
        0o644,
        &format!(
            "identity {{\n  endpoints = [\"http://{metadata}\"]\n  certificates = [\"/etc/muster/aws-identity.pem\"]\n}}\n\
             step \"time\" {{\n  attempt = \"2s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"3s\"\n}}\n"
        ),
    );
    machine.boot();
    let asked = ["timedatectl", "show", "--property=NTPSynchronized", "--value"];
    let kept = machine.wait_until("an answer of systemd's", || {
        let output = machine.try_run(&asked).filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|said| !said.is_empty())
    });
    if kept == "yes" {
        machine.wait_active();
        assert_eq!(state_of(&machine.status().expect("a status"), Step::Time), State::Done);
    } else {
        let failure = machine.wait_until("a clock that nobody keeps", || {
            let status = machine.status().filter(|status| state_of(status, Step::Time) == State::Failed)?;
            Some(failure_of(&status, Step::Time))
        });
        assert!(failure.contains("is not synchronised, as the kernel says"), "{failure}");
    }
}

#[test]
fn a_step_that_is_rightly_long_is_waited_for_by_systemd() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    let mut machine = with_awx(&cloud, &awx);
    machine.drop_in("[Service]\nTimeoutStartSec=3s\n");
    machine.boot();
    // By the machine's own clock: three times as long as systemd would wait.
    machine.wait_until("a boot that lasts", || {
        let began: f64 = machine.property(UNIT, "ExecMainStartTimestampMonotonic").parse().ok()?;
        let up = machine.run(&["cat", "/proc/uptime"]);
        let up: f64 = up.split(' ').next()?.parse().ok()?;
        (began > 0.0 && up > began / 1e6 + 9.0).then_some(())
    });
    assert_eq!(machine.property(UNIT, "ActiveState"), "activating");
    let text = machine.property(UNIT, "StatusText");
    assert!(text.starts_with("booting: awx"), "{text}");
    machine.wait_until("a job", || (!awx.state().jobs.is_empty()).then_some(()));
    awx.end("successful", "");
    machine.wait_active();
    assert_eq!(machine.property(UNIT, "NRestarts"), "0");
}

const PLANTED: &str = "planted-secret-9c1e77";

/// An OpenBao with a secret, and an AppRole that may read it. * returns: it, the role's id, a secret id.
fn bao() -> (Vault, String, String) {
    let bao = Vault::start(&VaultOptions { kind: VaultKind::OpenBao, ..VaultOptions::default() });
    bao.call(
        "PUT",
        "sys/policies/acl/node",
        &json!({"policy": "path \"kv/data/*\" { capabilities = [\"read\"] }"}),
    );
    bao.call("POST", "sys/auth/approle", &json!({"type": "approle"}));
    bao.call("POST", "auth/approle/role/node", &json!({"token_policies": ["node"], "token_ttl": "10m"}));
    let role = bao.call("GET", "auth/approle/role/node/role-id", &Value::Null);
    let secret = bao.call("POST", "auth/approle/role/node/secret-id", &json!({}));
    bao.mount_kv();
    bao.call("POST", "kv/data/app", &json!({"data": {"key": PLANTED}}));
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    let (role, secret) = (text(&role["data"]["role_id"]), text(&secret["data"]["secret_id"]));
    (bao, role, secret)
}

#[test]
fn secrets_reach_their_files_and_no_journal_and_end_with_the_machine() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().ends_as = "successful";
    cloud.put_parameter("/muster/web/awx-key", "SecureString", KEY);
    let (bao, role, secret) = bao();
    let mut machine = Machine::new(&cloud, |machine| {
        let at = machine.reachable(bao.address().trim_start_matches("http://").parse().expect("an address"));
        let ssm = machine.reachable(cloud.server.addr());
        let awx = awx_block(machine, &awx)
            .replace("key_file = \"/etc/muster/awx-key\"", "key_parameter = \"/muster/web/awx-key\"");
        format!(
            r#"
host {{
  file "app" {{
    path = "/etc/app.conf"
    owner = "prometheus"
    group = "prometheus"
    mode = "0440"
  }}
}}
parameters {{
  path = "/muster/web"
  endpoint = "http://{ssm}"
}}
{awx}
vault {{
  address = "http://{at}"
  token_file = "/run/muster/vault-token"
  approle {{
    role_id_file = "/etc/muster/role-id"
    secret_id_file = "/etc/muster/secret-id"
  }}
  template "own" {{
    source = "/etc/muster/templates/key"
    path = "/run/muster/secrets/key"
  }}
  template "app" {{
    source = "/etc/muster/templates/key"
    file = "app"
  }}
}}
"#
        )
    });
    machine.write("etc/muster/templates/key", 0o644, "key={{ secret('kv/data/app').key }}\n");
    let files = [
        ("etc/muster/role-id", role.as_str()),
        ("etc/muster/secret-id", &secret),
        ("etc/muster/awx-token", TOKEN),
    ];
    secrets(&machine, &files);
    machine.drop_in("[Service]\nEnvironment=MUSTER_LOG=debug\n");
    machine.boot();
    let agent = machine.wait_active();
    for (path, is) in [
        ("/run/muster/secrets/key", "muster:muster 600"),
        ("/run/muster/vault-token", "muster:muster 600"),
        ("/etc/app.conf", "prometheus:prometheus 440"),
    ] {
        assert_eq!(machine.run(&["stat", "--format=%U:%G %a", path]), is, "{path}");
    }
    assert_eq!(machine.run(&["cat", "/etc/app.conf"]), format!("key={PLANTED}"));
    let token = machine.run(&["cat", "/run/muster/vault-token"]);
    assert!(bao.knows(&token));
    assert_eq!(awx.state().jobs.len(), 1, "it was asked with the key that the parameter holds");

    let journal = machine.run(&["journalctl", "--no-pager", "--all", "--output=verbose"]);
    let process = machine.run(&["cat", &format!("/proc/{agent}/cmdline"), &format!("/proc/{agent}/environ")]);
    // The keys of the role are had for the parameters.
    let keys = cloud.session_keys(&machine.instance);
    let keys = keys.each_ref().map(String::as_str);
    for secret in [PLANTED, &token, &secret, KEY, TOKEN].into_iter().chain(keys) {
        assert!(!journal.contains(secret), "in the journal");
        assert!(!process.contains(secret), "in what everybody sees of the process");
    }

    // A restart takes nothing from those that use the token; the machine's end does.
    machine.run(&["systemctl", "restart", UNIT]);
    machine.wait_active();
    assert!(bao.knows(&token), "an agent that is restarted goes on with its token");
    awx.state().ends_as = "";
    machine.write("etc/muster/conf.d/90-other.hcl", 0o644, "awx {\n  extra_vars = { team = \"web\" }\n}\n");
    machine.reboot();
    assert!(!bao.knows(&token), "revoked");

    // Nor does one live on whose node was never ready, for which systemd runs no ExecStop.
    let token = machine.wait_until("a token", || {
        let said = machine.try_run(&["cat", "/run/muster/vault-token"])?;
        said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
    });
    machine.wait_until("a second job", || (awx.state().jobs.len() == 2).then_some(()));
    assert_eq!(machine.property(UNIT, "ActiveState"), "activating");
    assert!(bao.knows(&token));
    machine.power_off();
    assert!(!bao.knows(&token), "revoked");
}

#[test]
fn the_unit_that_meets_the_network_is_as_closed_as_systemd_can_tell() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/muster-bootstrap.service");
    let checked = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=20", unit])
        .output()
        .expect("systemd-analyze is missing: apt-get install systemd");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "an exposure above 2.0: {}", said.lines().last().unwrap_or_default());
}

#[test]
fn the_package_holds_the_program_its_units_and_what_people_read() {
    let listed = Command::new("dpkg-deb").arg("--contents").arg(package()).output().expect("dpkg-deb");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let of = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (mode, owner, path) = (*words.first()?, *words.get(1)?, *words.last()?);
        (!path.ends_with('/')).then(|| format!("{mode} {owner} {}", path.trim_start_matches('.')))
    };
    let mut files: Vec<String> = listed.lines().filter_map(of).collect();
    files.sort_by(|a, b| a.rsplit(' ').cmp(b.rsplit(' ')));
    let expected = [
        "-rw-r--r-- 0/0 /etc/muster/bootstrap.hcl",
        "-rwxr-xr-x 0/0 /usr/bin/muster-bootstrap",
        "-rw-r--r-- 0/0 /usr/lib/systemd/system/muster-bootstrap.service",
        "-rw-r--r-- 0/0 /usr/lib/systemd/system/muster-host.path",
        "-rw-r--r-- 0/0 /usr/lib/systemd/system/muster-host.service",
        "-rw-r--r-- 0/0 /usr/lib/sysusers.d/muster.conf",
        "-rw-r--r-- 0/0 /usr/share/bash-completion/completions/muster-bootstrap",
        "-rw-r--r-- 0/0 /usr/share/doc/muster-bootstrap/bootstrap-reference.md",
        "-rw-r--r-- 0/0 /usr/share/doc/muster-bootstrap/copyright",
        "-rw-r--r-- 0/0 /usr/share/doc/muster-bootstrap/examples/full.hcl",
        "-rw-r--r-- 0/0 /usr/share/doc/muster-bootstrap/examples/policies/consul-names.hcl",
        "-rw-r--r-- 0/0 /usr/share/doc/muster-bootstrap/examples/policies/consul-nomad.hcl",
        "-rw-r--r-- 0/0 /usr/share/doc/muster-bootstrap/examples/policies/consul.hcl",
        "-rw-r--r-- 0/0 /usr/share/doc/muster-bootstrap/examples/policies/nomad.hcl",
        "-rw-r--r-- 0/0 /usr/share/doc/muster-bootstrap/vault.md",
        "-rw-r--r-- 0/0 /usr/share/fish/vendor_completions.d/muster-bootstrap.fish",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-analyze-blame.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-analyze-critical-chain.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-analyze.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-check.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-completions.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-plan.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-reset.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-run.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-seal.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-status.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap-verify-image.1.gz",
        "-rw-r--r-- 0/0 /usr/share/man/man1/muster-bootstrap.1.gz",
        "-rw-r--r-- 0/0 /usr/share/zsh/vendor-completions/_muster-bootstrap",
    ];
    assert_eq!(files, expected, "{listed}");
    let field = |name: &str| {
        let said =
            Command::new("dpkg-deb").arg("--field").arg(package()).arg(name).output().expect("dpkg-deb");
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    };
    assert_eq!((field("Package"), field("Section")), ("muster-bootstrap".to_owned(), "admin".to_owned()));
    assert!(field("Depends").contains("libsystemd0"), "{}", field("Depends"));
}
