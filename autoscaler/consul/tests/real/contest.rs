//! Contenders as processes, on a real Consul with access control.

use fleet::ports::Clock;
use fleet_clock::SystemClock;
use muster_test_servers::{Consul, ConsulOptions, wait_for};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The least that a token must be allowed: as the crate's documentation says.
pub const RULES: &str = r#"
key_prefix "muster-autoscaler/" { policy = "write" }
service "muster-autoscaler-election" { policy = "write" }
session_prefix "" { policy = "write" }
"#;

/// Consul, and who contends.
pub struct Contest {
    pub consul: Consul,
    contenders: BTreeMap<String, Child>,
    clock: SystemClock,
}

/// A line of a contender's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Wall time in milliseconds.
    pub at: i64,
    /// Whose.
    pub name: String,
    /// `write`, or a role.
    pub what: String,
    /// The term.
    pub term: u64,
}

impl Contest {
    /// Consul with access control, and a file with a token of the least rights for each contender to come.
    pub fn new() -> Self {
        let consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
        Self { consul, contenders: BTreeMap::new(), clock: SystemClock::new() }
    }

    pub fn now(&self) -> i64 {
        self.clock.wall().millis()
    }

    pub fn token_file(&self, name: &str) -> PathBuf {
        self.consul.directory().join(format!("{name}.token"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.consul.directory().join(format!("{name}.contender"))
    }

    /// Starts a contender; one of this name that has ended starts again.
    pub fn start(&mut self, name: &str) {
        let token = self.consul.new_token(RULES);
        std::fs::write(self.token_file(name), token).expect("a token file");
        let mut program = std::env::current_exe().expect("a test knows where it is");
        program.pop();
        // .../debug/deps/test-hash, or .../debug/examples/example
        if program.ends_with("deps") {
            program.pop();
            program.push("examples");
        }
        program.push("contender");
        assert!(
            program.is_file(),
            "{} is missing: cargo build -p autoscaler-consul --example contender",
            program.display()
        );
        let child = Command::new(program)
            .arg(self.consul.address())
            .arg(self.token_file(name))
            .arg(name)
            .arg(self.log(name))
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        self.contenders.insert(name.to_owned(), child);
    }

    /// Starts several, and waits until the first of them leads.
    pub fn start_led(names: &[&str]) -> (Self, String) {
        let mut contest = Self::new();
        for name in names {
            contest.start(name);
        }
        let first = contest.wait_for_write("anybody to lead", |_| true);
        // The others are ready when they know who leads.
        for name in names.iter().filter(|name| **name != first.name) {
            wait_for("a standby", || contest.lines().into_iter().find(|line| line.name == *name));
            contest.wait_until_warm(name);
        }
        (contest, first.name)
    }

    /// Waits until a standby has its session, which it makes once it has registered itself.
    pub fn wait_until_warm(&self, name: &str) {
        let id = format!("{}:deciding", self.instance(name));
        wait_for("a session of the standby's", || {
            let sessions = self.consul.try_call("GET", "/v1/session/list", "").ok()?;
            sessions.body.contains(&id).then_some(())
        });
    }

    /// What a contender calls itself in Consul.
    pub fn instance(&self, name: &str) -> String {
        format!("{name}-{}", self.contenders[name].id())
    }

    /// Deletes a contender's token.
    pub fn delete_token(&self, name: &str) {
        let secret = std::fs::read_to_string(self.token_file(name)).expect("its token");
        let tokens = self.consul.call("GET", "/v1/acl/tokens", &serde_json::Value::Null);
        let ids = tokens.as_array().expect("a list").iter().filter_map(|token| token["AccessorID"].as_str());
        for id in ids {
            let path = format!("/v1/acl/token/{id}");
            if self.consul.call("GET", &path, &serde_json::Value::Null)["SecretID"] == secret.as_str() {
                self.consul.call("DELETE", &path, &serde_json::Value::Null);
                return;
            }
        }
        panic!("no token of {name}'s in Consul");
    }

    /// Kills a contender.
    pub fn kill(&mut self, name: &str) {
        let mut child = self.contenders.remove(name).expect("it was started");
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str, signal: &str) {
        let kill = format!("kill -{signal} {}", self.contenders[name].id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// Asks a contender to end, and waits until it has.
    pub fn end(&mut self, name: &str) {
        self.signal(name, "TERM");
        let mut child = self.contenders.remove(name).expect("it was started");
        assert!(child.wait().expect("it is ours").success());
    }

    /// Everything that was logged by anybody, by time.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(self.consul.directory()).expect("a directory").flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "contender") {
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).expect("a log");
                lines.extend(text.lines().filter_map(|line| parse(&name, line)));
            }
        }
        lines.sort_by_key(|line| line.at);
        lines
    }

    pub fn writes(&self) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.what == "write").collect()
    }

    /// The first write that fits.
    pub fn wait_for_write(&self, what: &str, fits: impl Fn(&Line) -> bool) -> Line {
        wait_for(what, || self.writes().into_iter().find(&fits))
    }

    /// The first line of a role that fits.
    pub fn wait_for_role(&self, name: &str, role: &str, since: i64) -> Line {
        let fits = |line: &Line| line.name == name && line.what == role && line.at >= since;
        wait_for(&format!("{name} to become {role}"), || self.lines().into_iter().find(fits))
    }

    /// Who wrote, one after the other. Panics where two wrote at the same time.
    pub fn reigns(&self) -> Vec<(String, u64)> {
        let mut reigns: Vec<(String, u64)> = Vec::new();
        for Line { name, term, .. } in self.writes() {
            let reign = (name, term);
            if reigns.last() != Some(&reign) {
                assert!(!reigns.contains(&reign), "{reign:?} wrote again after another: {reigns:?}");
                reigns.push(reign);
            }
        }
        reigns
    }
}

impl Drop for Contest {
    fn drop(&mut self) {
        for child in self.contenders.values_mut() {
            // What has ended already does not mind.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A line may be half written.
fn parse(name: &str, line: &str) -> Option<Line> {
    let [at, what, term] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
    let (at, term) = (at.parse().ok()?, term.parse().ok()?);
    Some(Line { at, name: name.to_owned(), what: what.to_owned(), term })
}
