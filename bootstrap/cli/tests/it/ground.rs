//! An instance of a loopback cloud, and the agent that boots it.
//!
//! The agent runs as it does in production, but for systemd: the test answers its requests to root, with the same code,
//! and starts what the units would as processes of its own.

use bootstrap_agent::host::{Hands, Units, Verb, serve};
use bootstrap_agent::status::Status;
use bootstrap_config::{File, begin};
use bootstrap_core::{Condition, State, Step};
use fleet::ports::Clock;
use fleet::{InstanceId, Timestamp};
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer};
use fleet_sim::{Demand, FleetRequest, FleetSpec, World, WorldSpec};
use muster_test_servers::{Ground, request, wait_for};
use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;

/// What an environment names proxies by.
pub const PROXIES: [&str; 5] = ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"];

/// An account with a fleet whose instances have run for an hour.
pub struct Cloud {
    // Before the runtime, which it ends on.
    pub server: CloudServer,
    _runtime: tokio::runtime::Runtime,
    world: Arc<Mutex<World>>,
}

impl Cloud {
    pub fn start() -> Self {
        Self::of(3)
    }
    /// With so many instances.
    pub fn of(count: u32) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let request = FleetRequest { target: count, ..FleetRequest::default() };
        let fleet = FleetSpec {
            request,
            initial: Some(count),
            load: Demand::constant(f64::from(count) - 1.0),
            ..FleetSpec::default()
        };
        let first_address = Ipv4Addr::new(127, 16, 0, 4);
        let spec = WorldSpec { fleets: vec![fleet], first_address, ..WorldSpec::default() };
        let mut world = World::new(spec, 5, clock.wall() - Duration::from_secs(3600));
        world.advance(clock.wall());
        let world = Arc::new(Mutex::new(world));
        let config = CloudConfig { speed: Some(1.0), ..CloudConfig::new(Arc::clone(&world), clock) };
        let server = runtime.block_on(CloudServer::start(config)).expect("the cloud starts");
        Self { server, _runtime: runtime, world }
    }
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("whole")
    }
    /// Marks an instance for interruption: it has two minutes.
    pub fn interrupt(&self, instance: &InstanceId) {
        assert!(self.world().interrupt(instance), "it runs");
        self.server.world_moved();
    }
    /// Puts a parameter into the store, as an operator would.
    pub fn put_parameter(&self, name: &str, kind: &str, value: &str) {
        let body =
            serde_json::json!({"Name": name, "Type": kind, "Value": value, "Overwrite": true}).to_string();
        let put = Command::new("curl")
            .args(["--silent", "--show-error", "--noproxy", "*", "--fail-with-body", "--aws-sigv4"])
            .args(["aws:amz:eu-west-1:ssm", "--user", "muster:muster-secret", "--data", &body])
            .args(["--header", "Content-Type: application/x-amz-json-1.1"])
            .args(["--header", "X-Amz-Target: AmazonSSM.PutParameter", &self.server.endpoint()])
            .output()
            .expect("curl is missing: apt-get install curl");
        assert!(
            put.status.success(),
            "{}{}",
            String::from_utf8_lossy(&put.stdout),
            String::from_utf8_lossy(&put.stderr)
        );
    }
    /// Gives an instance a tag, as an operator would.
    pub fn tag(&self, instance: &InstanceId, key: &str, value: &str) {
        let fields = [
            ("Action", "CreateTags"),
            ("Version", "2016-11-15"),
            ("ResourceId.1", instance.as_str()),
            ("Tag.1.Key", key),
            ("Tag.1.Value", value),
        ];
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--fail-with-body", "--aws-sigv4"]).args([
            "aws:amz:eu-west-1:ec2",
            "--user",
            "muster:muster-secret",
        ]);
        for (name, value) in fields {
            curl.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        let put = curl.arg(self.server.endpoint()).output().expect("curl is missing: apt-get install curl");
        let said = [&put.stdout, &put.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
        assert!(put.status.success(), "{said:?}");
    }
    pub fn instance(&self, number: usize) -> InstanceId {
        let world = self.world();
        let fleet = world.fleets()[0].id.clone();
        let ids: Vec<InstanceId> = world.instance_truths(&fleet).into_iter().map(|truth| truth.id).collect();
        ids[number].clone()
    }
    /// The metadata service of an instance.
    pub fn metadata(&self, instance: &InstanceId) -> String {
        format!("{}/_imds/{instance}", self.server.endpoint())
    }
    /// What the role of an instance signs with: the key's id, the key and the token of its session.
    pub fn session_keys(&self, instance: &InstanceId) -> [String; 3] {
        let at = self.server.addr();
        let imds = format!("/_imds/{instance}/latest");
        let ask = |method: &str, path: &str, header: (&str, &str)| {
            let answer = request(at, method, &format!("{imds}/{path}"), &[header], "").expect("it answers");
            answer.must_be_success();
            answer
        };
        let token = ask("PUT", "api/token", ("X-aws-ec2-metadata-token-ttl-seconds", "60")).body;
        let header = ("X-aws-ec2-metadata-token", token.as_str());
        let role = ask("GET", "meta-data/iam/security-credentials/", header).body;
        let keys = ask("GET", &format!("meta-data/iam/security-credentials/{}", role.trim()), header).json();
        ["AccessKeyId", "SecretAccessKey", "Token"].map(|name| keys[name].as_str().expect("a key").to_owned())
    }
    pub fn certificate(&self) -> String {
        let answer =
            request(self.server.addr(), "GET", "/_muster/identity-certificate", &[], "").expect("it answers");
        answer.must_be_success();
        answer.json()["pem"].as_str().expect("a certificate").to_owned()
    }
}

/// What a unit of systemd would run.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
}

/// Units as processes of the test, and what was done to them.
#[derive(Clone, Default)]
pub struct Processes {
    shared: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    programs: BTreeMap<String, Program>,
    children: BTreeMap<String, Child>,
    done: Vec<String>,
    /// From when to when it was at each of these.
    took: Vec<(Timestamp, Timestamp)>,
    /// What fails so many times more.
    fails: BTreeMap<String, u32>,
    logs: PathBuf,
    /// Whoever dies with the next reload, and so it is not done.
    dies: Option<u32>,
    /// When what a unit runs was started.
    started: BTreeMap<String, Timestamp>,
    /// The file of a package that is another one than it brought.
    altered: Option<String>,
}

impl Processes {
    fn locked(&self) -> MutexGuard<'_, Running> {
        self.shared.lock().expect("whole")
    }
    pub fn set(&self, unit: &str, program: Program) {
        self.locked().programs.insert(unit.to_owned(), program);
    }
    /// What is asked, such as `restart consul.service`, fails so many times.
    pub fn fail(&self, what: &str, times: u32) {
        self.locked().fails.insert(what.to_owned(), times);
    }
    /// Whether what a unit ran has ended, though nobody stopped it.
    pub fn has_ended(&self, unit: &str) -> bool {
        let mut running = self.locked();
        running
            .children
            .get_mut(unit)
            .is_some_and(|child| child.try_wait().is_ok_and(|ended| ended.is_some()))
    }
    /// What was done, in order: `restart consul.service`, `power off`.
    pub fn done(&self) -> Vec<String> {
        self.locked().done.clone()
    }
    /// From when to when somebody was at what was done, in order.
    pub fn took(&self) -> Vec<(Timestamp, Timestamp)> {
        self.locked().took.clone()
    }
    /// Has the agent die when it asks for the next reload, which is not done.
    pub fn die_at_reload(&self, agent: u32) {
        self.locked().dies = Some(agent);
    }
    /// Has a file of the package that is installed be another one, until it is installed again.
    pub fn alter(&self, file: &str) {
        self.locked().altered = Some(file.to_owned());
    }
    /// For how long what is started from a file of the `host` block has run.
    pub fn started_ago(&self, file: &str) -> Option<Duration> {
        let unit = match file {
            "node_exporter" => "prometheus-node-exporter.service".to_owned(),
            other => format!("{other}.service"),
        };
        let started = self.locked().started.get(&unit).copied()?;
        Some(SystemClock::new().wall().since(started))
    }
    pub fn kill(&self, unit: &str) {
        if let Some(mut child) = self.locked().children.remove(unit) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Processes {
    fn do_to(&self, verb: Verb, unit: &str) -> Result<(), String> {
        let mut running = self.locked();
        let what = format!("{} {unit}", verb.word());
        if verb == Verb::Reload
            && let Some(agent) = running.dies.take()
        {
            let _ = Command::new("kill").args(["-KILL", &agent.to_string()]).status();
            return Err("Its asker has died.".to_owned());
        }
        running.done.push(what.clone());
        if let Some(left) = running.fails.get_mut(&what).filter(|left| **left > 0) {
            *left -= 1;
            return Err(format!("{what}: connection timed out"));
        }
        if verb == Verb::Terminate {
            let child = running.children.get(unit).ok_or_else(|| format!("Unit {unit} does not run."))?;
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            return Ok(());
        }
        let is_up = running.children.get_mut(unit).is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if matches!(verb, Verb::Reload | Verb::TryRestart) && !is_up {
            return Ok(());
        }
        if let Some(mut child) = running.children.remove(unit) {
            if verb == Verb::Start {
                running.children.insert(unit.to_owned(), child);
                return Ok(());
            }
            // As systemd does: asked first.
            let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
            for _ in 0..400 {
                if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                    break;
                }
                thread::sleep(Duration::from_millis(25));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        if verb == Verb::Stop {
            return Ok(());
        }
        let program = running.programs.get(unit).cloned().ok_or_else(|| format!("Unit {unit} not found."))?;
        let log = running.logs.join(format!("{unit}.log"));
        let log =
            fs::File::options().create(true).append(true).open(log).map_err(|error| error.to_string())?;
        let child = Command::new(&program.path)
            .args(&program.arguments)
            .current_dir(&running.logs)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(program.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.path.display()))?;
        running.children.insert(unit.to_owned(), child);
        running.started.insert(unit.to_owned(), SystemClock::new().wall());
        Ok(())
    }
}

impl Units for Processes {
    fn act(&self, verb: Verb, unit: &str) -> Result<(), String> {
        let clock = SystemClock::new();
        let begun = clock.wall();
        let acted = self.do_to(verb, unit);
        self.locked().took.push((begun, clock.wall()));
        acted
    }
    fn installed(&self, file: &Path) -> Result<Option<String>, String> {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let installed = self.locked().done.contains(&format!("install {name}"));
        Ok(installed.then(|| "1.0".to_owned()))
    }
    fn install(&self, file: &Path) -> Result<(), String> {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let mut running = self.locked();
        running.altered = None;
        running.done.push(format!("install {name}"));
        Ok(())
    }
    fn altered(&self, _: &Path) -> Result<Option<String>, String> {
        Ok(self.locked().altered.clone())
    }
    fn started(&self, unit: &str) -> Result<Option<Timestamp>, String> {
        // As systemd, which tells in whole seconds.
        let started = self.locked().started.get(unit).copied();
        Ok(started.map(|started| Timestamp::from_secs(started.millis() / 1000)))
    }
    fn power_off(&self) -> Result<(), String> {
        self.locked().done.push("power off".to_owned());
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in self.children.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Answers the agent's requests until it is dropped.
struct Root {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Root {
    fn start(spool: PathBuf, config: PathBuf, units: Processes) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let asker = nix::unistd::getuid().as_raw();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&config).unwrap_or_default();
                let rules =
                    begin(&[File::new("bootstrap.hcl", text)]).map(|base| base.host).unwrap_or_default();
                if spool.join("requests").is_dir() {
                    // The directory may just be made.
                    let _ = serve(&spool, asker, &Hands::new(rules, units.clone()));
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An instance with the agent in it.
pub struct Node {
    pub instance: InstanceId,
    agent: Option<Child>,
    _root: Root,
    pub units: Processes,
    /// What its processes have in their environment, beside the path of programs.
    pub environment: Vec<(String, String)>,
    place: Ground,
    /// What is on tmpfs; `run` in the place leads here.
    run: TempDir,
}

impl Node {
    /// An instance whose agent has not run.
    ///
    /// * `configuration`: beside `identity`; `$PLACE` stands for the node's own directory.
    pub fn new(cloud: &Cloud, number: usize, configuration: &str) -> Self {
        let place = Ground::new();
        let run = tempfile::Builder::new().prefix("muster-run-").tempdir_in("/dev/shm").expect("tmpfs");
        std::os::unix::fs::symlink(run.path(), place.path().join("run")).expect("linked");
        let instance = cloud.instance(number);
        fs::write(place.path().join("aws.pem"), cloud.certificate()).expect("written");
        let units = Processes::default();
        place.path().clone_into(&mut units.locked().logs);
        let config = place.path().join("bootstrap.hcl");
        let root = Root::start(place.path().join("run/host"), config, units.clone());
        let environment = Vec::new();
        let node = Self { instance, agent: None, _root: root, units, environment, place, run };
        node.configure(&cloud.metadata(&node.instance), configuration);
        node
    }

    /// Writes the configuration.
    pub fn configure(&self, metadata: &str, more: &str) {
        let place = self.path().display().to_string();
        let text = format!(
            "identity {{\n  endpoints = [\"{metadata}\"]\n  certificates = [\"$PLACE/aws.pem\"]\n}}\n{more}"
        );
        fs::write(self.path().join("bootstrap.hcl"), text.replace("$PLACE", &place)).expect("written");
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// A command of the agent's program.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster-bootstrap"));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.environment.iter().cloned())
            .args(arguments)
            .current_dir(self.path());
        command.arg("--config").arg(self.path().join("bootstrap.hcl"));
        command.arg("--state-directory").arg(self.path().join("state"));
        command.arg("--run-directory").arg(self.path().join("run"));
        command
    }

    /// Starts the agent.
    pub fn start(&mut self) {
        let place = self.path().to_owned();
        self.start_in(&place);
    }

    /// Starts the agent in a directory.
    pub fn start_in(&mut self, directory: &Path) {
        assert!(self.agent.is_none(), "it runs");
        let log =
            fs::File::options().create(true).append(true).open(self.path().join("agent.log")).expect("a log");
        let child = self
            .command(&["run", "--log", "debug,hyper=info,reqwest=info,hyper_util=info"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        self.agent = Some(child);
    }

    pub fn pid(&self) -> u32 {
        self.agent.as_ref().expect("it runs").id()
    }

    /// The agent's process, whose end is the caller's to wait for.
    pub fn take(&mut self) -> Child {
        self.agent.take().expect("it runs")
    }

    /// Kills the agent, as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.agent.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the agent to end. * returns: its exit code.
    pub fn stop(&mut self) -> i32 {
        let mut child = self.agent.take().expect("it runs");
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        child.wait().expect("it ends").code().unwrap_or(-1)
    }

    /// Has everything looked at.
    pub fn verify(&self) {
        let _ = Command::new("kill").args(["-HUP", &self.pid().to_string()]).status();
    }

    /// Has everything looked at, again and again, until something is so: for what others have to hear of first.
    pub fn verify_until<T>(&self, what: &str, mut is: impl FnMut() -> Option<T>) -> T {
        let (clock, mut asked) = (SystemClock::new(), None::<Duration>);
        wait_for(what, || {
            let now = clock.monotonic();
            if asked.is_none_or(|asked| now >= asked + Duration::from_secs(3)) {
                self.verify();
                asked = Some(now);
            }
            is()
        })
    }

    /// A reboot: what is on tmpfs is gone.
    pub fn reboot(&mut self) {
        self.kill();
        for entry in fs::read_dir(self.run.path()).expect("tmpfs").flatten() {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }

    pub fn status(&self) -> Option<Status> {
        Status::read(&self.path().join("run")).expect("it can be read")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("agent.log")).unwrap_or_default()
    }

    /// Waits until the status is as it should be.
    pub fn wait_until(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, || self.status().filter(|status| is(status)))
        }));
        found.unwrap_or_else(|_| {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            panic!("waited for {what}; status {:#?}\n{}", self.status(), tail.join("\n"))
        })
    }

    /// Waits until this process of the agent says that everything stands.
    pub fn wait_done(&self) -> Status {
        let pid = self.pid();
        self.wait_until("a boot that is done", |status| {
            status.pid == pid && status.report.condition == Condition::Done
        })
    }

    pub fn wait_state(&self, step: Step, state: State) -> Status {
        self.wait_until(&format!("{step} to be {state}"), |status| state_of(status, step) == state)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The names in a directory, in order; none where it is not there.
pub fn names(directory: &Path) -> Vec<String> {
    let listed = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The names in a directory while nothing in it is half written: the agent goes on meanwhile. What is left so is waited for in vain.
pub fn whole(directory: &Path) -> Vec<String> {
    wait_for("nothing to be half written", || {
        let names = names(directory);
        names.iter().all(|name| !name.starts_with(".new-")).then_some(names)
    })
}

pub fn state_of(status: &Status, step: Step) -> State {
    status
        .report
        .steps
        .iter()
        .find(|report| report.step == step)
        .map_or(State::Waiting, |report| report.state)
}

/// The failure of a step, in words.
pub fn failure_of(status: &Status, step: Step) -> String {
    let step = status.report.steps.iter().find(|report| report.step == step);
    step.and_then(|step| step.failure.as_ref()).map_or_else(String::new, ToString::to_string)
}
