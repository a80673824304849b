//! What system tests stand on: a cloud with one fleet, real Nomad whose clients are the fleet's instances, and the
//! real daemon between them.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use crate::job;
use crate::programs::{Running, autoscaler};
use fleet::ports::Clock;
use fleet::{Backend, FleetId, InstanceId, Timestamp};
use fleet_clock::SystemClock;
pub use fleet_cloud::BakeMachine;
use fleet_cloud::{CloudConfig, CloudServer, ImageSpec, OidcProvider};
use fleet_sim::{
    Action, Delay, Demand, FleetRequest, FleetSpec, InstancePhase, ScheduledCode, TimingSpec, World,
    WorldSpec,
};
use muster_test_servers::{Answer, Consul, Nomad, NomadClient, NomadOptions, Vault, request, wait_for};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

/// What the Nomad job's identity may do in Nomad, and no more.
pub const RIGHTS: &str = include_str!("../../autoscaler/nomad/job/nomad-policy.hcl");

/// What nodes bind the signature to by which they log in to Vault.
pub const SERVER_ID: &str = "vault.site.internal";

/// A loopback cloud in real time with one fleet, whose instances boot within seconds.
pub struct Cloud {
    // Before the runtime, which it ends on.
    server: CloudServer,
    runtime: tokio::runtime::Runtime,
    world: Arc<Mutex<World>>,
    fleet: OnceLock<FleetId>,
}

impl Cloud {
    /// A fleet with two hours of history.
    ///
    /// * `target`: how many instances it has.
    /// * `load`: what it has had to serve, in instances that are all busy.
    pub fn start(target: u32, load: f64) -> Self {
        let bakes = CloudConfig::FIRST_MACHINE;
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::serve(here, bakes, |now| account(now, Backend::SpotFleet, target, load))
    }

    /// The same with an EC2 Fleet.
    pub fn start_ec2_fleet(target: u32, load: f64) -> Self {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::serve(here, CloudConfig::FIRST_MACHINE, |now| account(now, Backend::Ec2Fleet, target, load))
    }

    /// Another account than [`Self::start`]'s.
    ///
    /// * `listen`: where its services are. * `bakes`: the address of the first machine that no fleet holds. * `world`: makes it, of the time that it is; it has one fleet, or none before [`Self::holds`].
    pub fn serve(listen: SocketAddr, bakes: Ipv4Addr, world: impl FnOnce(Timestamp) -> World) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let world = world(clock.wall());
        let fleet = world.fleets().first().map_or_else(OnceLock::new, |fleet| fleet.id.clone().into());
        let world = Arc::new(Mutex::new(world));
        let config = CloudConfig::new(Arc::clone(&world), clock);
        let config = CloudConfig { listen, speed: Some(1.0), first_machine: bakes, ..config };
        let server = runtime.block_on(CloudServer::start(config)).unwrap_or_else(|error| panic!("{error}"));
        Self { server, runtime, world, fleet }
    }
    /// Has the metadata service answer at another address, too.
    pub fn listen_also(&self, at: SocketAddr) {
        self.runtime.block_on(self.server.listen_also(at)).unwrap_or_else(|error| panic!("{error}"));
    }

    /// The world itself.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("whole")
    }
    /// The fleet.
    pub fn fleet(&self) -> &FleetId {
        self.fleet.get().expect("somebody has requested it")
    }
    /// Its fleet was requested.
    pub fn holds(&self, fleet: FleetId) {
        self.fleet.set(fleet).expect("it had none");
    }
    /// Where AWS is: `http://…`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }
    /// The address of that.
    pub fn address(&self) -> IpAddr {
        self.server.addr().ip()
    }
    /// The queue of the account's events.
    pub fn queue(&self) -> String {
        format!("{}/123456789012/muster-events", self.endpoint())
    }

    /// The certificate that its identity documents are signed with, as PEM.
    pub fn certificate(&self) -> String {
        self.server.identity_certificate().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The instances that are not gone.
    pub fn living(&self) -> Vec<InstanceId> {
        let instances = self.world().instance_truths(self.fleet());
        let living = instances.into_iter().filter(|instance| instance.phase != InstancePhase::Gone);
        living.map(|instance| instance.id).collect()
    }
    /// The fleet's target.
    pub fn target(&self) -> u32 {
        self.world().truth(self.fleet()).expect("it is there").target
    }
    /// How many modifications and terminations it was asked for, by anybody.
    pub fn writes(&self) -> u64 {
        let writes = [Action::MODIFY_SPOT_FLEET_REQUEST, Action::TERMINATE_INSTANCES];
        let world = self.world();
        let calls = world.calls().iter();
        calls.filter(|(_, action, _)| writes.contains(action)).map(|(_, _, count)| count.calls).sum()
    }

    /// Has Vault let nodes log in by the role of their instances, as `node`, with the policy of that name, which is the caller's to write.
    pub fn let_nodes_log_in(&self, vault: &Vault) {
        vault.call("POST", "sys/auth/aws", &json!({ "type": "aws" }));
        let client = json!({
            "sts_endpoint": self.endpoint(), "sts_region": "us-east-1", "iam_server_id_header_value": SERVER_ID,
        });
        vault.call("POST", "auth/aws/config/client", &client);
        let account = self.world().spec().account.clone();
        let role = json!({
            "auth_type": "iam", "bound_iam_principal_arn": [format!("arn:aws:iam::{account}:role/muster-node")],
            "resolve_aws_unique_ids": false, "token_policies": ["node"], "token_ttl": "1h",
        });
        vault.call("POST", "auth/aws/role/node", &role);
    }

    /// Marks an instance for interruption: it has two minutes. * returns: when that was.
    pub fn interrupt(&self, instance: &InstanceId) -> Timestamp {
        let mut world = self.world();
        assert!(world.interrupt(instance), "it runs");
        self.server.world_moved();
        world.now()
    }
    /// Recommends to rebalance an instance.
    pub fn recommend(&self, instance: &InstanceId) {
        assert!(self.world().recommend_rebalance(instance), "it runs");
        self.server.world_moved();
    }
    /// Plans an instance's retirement, so long from now.
    pub fn plan_retirement(&self, instance: &InstanceId, after: Duration) {
        assert!(self.world().schedule(instance, ScheduledCode::InstanceRetirement, after), "it runs");
        self.server.world_moved();
    }
    /// Puts an image there that nobody made, with these tags. * returns: its id.
    pub fn put_tagged_image(&self, name: &str, tags: &[(&str, &str)]) -> String {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.server.put_image(&ImageSpec { name: name.to_owned(), tags, ..ImageSpec::default() }).0
    }
    /// The machines that no fleet holds and that run: what images are made of.
    pub fn bake_machines(&self) -> Vec<BakeMachine> {
        self.server.bake_machines()
    }
    /// The images that were made of machines, each with its machine.
    pub fn images_made(&self) -> Vec<(String, String)> {
        self.server.images_made()
    }
    /// Has the account's roles trust the identities that Nomad gives this job for AWS, as an OpenID Connect provider does.
    pub fn trust(&self, nomad: &Nomad, job: &str) {
        // The provider's keys are fetched once here: by then the one that Nomad signs with has to be among them. A server that has
        // just begun to lead may have to unwrap it yet.
        let keys = wait_for("the key that Nomad signs with", || {
            let listed = nomad.call("GET", "/v1/operator/keyring/keys", &Value::Null);
            let keys = nomad.call("GET", "/.well-known/jwks.json", &Value::Null);
            let told = |id: &Value| keys["keys"].as_array()?.iter().find(|key| key["kid"] == *id);
            let mut active = listed.as_array()?.iter().filter(|key| key["State"] == "active").peekable();
            (active.peek().is_some() && active.all(|key| told(&key["KeyID"]).is_some())).then_some(keys)
        });
        self.server.trust(OidcProvider {
            keys: serde_json::from_value(keys).expect("keys"),
            audience: "sts.amazonaws.com".to_owned(),
            subject: format!("global:default:{job}:*"),
        });
    }
    /// Puts an image there that nobody made and that can be launched.
    pub fn put_image(&self, id: &str, arm64: bool) {
        let spec = ImageSpec { id: Some(id.to_owned()), name: id.to_owned(), arm64, ..ImageSpec::default() };
        self.server.put_image(&spec);
    }
    /// Makes the fleet serve so much from now on.
    pub fn set_load(&self, load: f64) {
        self.world().set_load(self.fleet(), Demand::constant(load));
    }
    /// Leaves no pool anything to give.
    pub fn run_dry(&self) {
        let mut world = self.world();
        let pools: Vec<_> = world.spec().pools.iter().map(fleet_sim::PoolSpec::pool).collect();
        for pool in pools {
            world.set_depth(&pool, 0);
        }
    }
}

fn account(now: Timestamp, backend: Backend, target: u32, load: f64) -> World {
    let excess = fleet::ExcessCapacity::NoTermination;
    let request = FleetRequest { backend, target, excess, ..FleetRequest::default() };
    let fleet =
        FleetSpec { request, initial: Some(target), load: Demand::constant(load), ..FleetSpec::default() };
    let timing = TimingSpec {
        modifying: Duration::from_secs(1),
        fulfilment: Delay::Constant(Duration::from_secs(1)),
        pending: Duration::from_secs(1),
        boot: Delay::Constant(Duration::from_secs(5)),
        ..TimingSpec::default()
    };
    // Addresses of this host, so that one can speak from them.
    let first_address = Ipv4Addr::new(127, 16, 0, 4);
    let spec = WorldSpec { fleets: vec![fleet], timing, first_address, ..WorldSpec::default() };
    let mut world = World::new(spec, 5, now - Duration::from_secs(2 * 3600));
    world.advance(now);
    world
}

/// A Nomad client on an instance, of the same name.
pub fn client(instance: &InstanceId) -> NomadClient {
    NomadClient {
        name: instance.to_string(),
        instance_id: Some(instance.to_string()),
        ..NomadClient::default()
    }
}

/// A cloud, Nomad with a client on each instance, Consul where there is one, and a directory for the daemon: its
/// policy `web.hcl`, its Nomad token `nomad-token`, its state.
pub struct Site {
    /// The account.
    pub cloud: Cloud,
    /// Its token may do everything; the daemon's what the job's may.
    pub nomad: Nomad,
    /// The agents of the instances, where there is Consul.
    agents: Vec<Consul>,
    directory: TempDir,
}

impl Site {
    /// A fleet of `first` instances, all of them nodes of Nomad, that has next to no load and needs `smallest`.
    ///
    /// * `nomad`: what else is true of Nomad; access control is on, and the instances come after its own clients.
    /// * `consul`: each node has an agent that joined this one.
    pub fn start(first: u32, smallest: u32, nomad: NomadOptions, consul: Option<&Consul>) -> Self {
        let cloud = Cloud::start(first, 0.5);
        let mut agents = Vec::new();
        let mut clients = nomad.clients.clone();
        clients.extend(cloud.living().iter().map(|instance| on_instance(instance, consul, &mut agents)));
        let nomad = Nomad::start(NomadOptions { clients, acl: true, ..nomad });
        let directory = tempfile::tempdir().expect("a directory");
        let site = Self { cloud, nomad, agents, directory };
        site.write("nomad-token", &site.nomad.new_token(RIGHTS));
        site.write("web.hcl", &site.policy(smallest));
        site
    }

    /// The policy: nodes are emptied by Nomad, and what is too much for 10 s is given back.
    pub fn policy(&self, smallest: u32) -> String {
        let fleet = self.cloud.fleet();
        format!(
            "fleet \"web\" {{\n  id = \"{fleet}\"\n  region = \"eu-west-1\"\n  boot = \"5s\"\n  source \"cloudwatch\" {{}}\n  \
             capacity {{\n    min = {smallest}\n  }}\n  \
             scale_in {{\n    hold = \"10s\"\n  }}\n  \
             drain {{\n    by = \"nomad\"\n    deadline = \"2m\"\n  }}\n  \
             workload {{\n    kind = \"spreads\"\n  }}\n}}\n"
        )
    }

    /// The daemon's directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
    /// Replaces a file of the daemon's directory; nobody reads half of it.
    pub fn write(&self, name: &str, text: &str) {
        let place = self.directory.path();
        std::fs::write(place.join("new"), text).expect("a file");
        std::fs::rename(place.join("new"), place.join(name)).expect("a file");
    }

    /// Makes an instance a node of Nomad, and waits until it is ready.
    pub fn add_node(&mut self, instance: &InstanceId, consul: Option<&Consul>) {
        self.nomad.add_client(on_instance(instance, consul, &mut self.agents));
    }

    /// Starts a daemon that reads the account's queue; its state is beneath its name.
    pub fn daemon(&self, name: &'static str, arguments: &[&str]) -> Daemon {
        let queue = self.cloud.queue();
        self.daemon_without_queue(name, &[&["--queue-url", &queue], arguments].concat())
    }
    /// Starts a daemon that reads no queue.
    pub fn daemon_without_queue(&self, name: &'static str, arguments: &[&str]) -> Daemon {
        let mut command = autoscaler();
        command.args(["run", "--policy", "web.hcl", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.args(["--state", name, "--advertise", name, "--region", "eu-west-1"]);
        command.args(["--endpoint", &self.cloud.endpoint()]);
        command.args(["--nomad-address", &self.nomad.address(), "--nomad-token-file", "nomad-token"]);
        command.env("AWS_ACCESS_KEY_ID", "muster").env("AWS_SECRET_ACCESS_KEY", "muster-secret");
        let mut running = Running::start(command.args(arguments).current_dir(self.directory()));
        let address = running.address();
        Daemon { name, running, address }
    }

    /// The node of an instance, as Nomad lists it.
    pub fn node(&self, instance: &InstanceId) -> Value {
        let nodes = self.nomad.call("GET", "/v1/nodes", &Value::Null);
        let named = |node: &&Value| node["Name"] == instance.as_str();
        let found = nodes.as_array().expect("a list").iter().find(named);
        found.unwrap_or_else(|| panic!("no node of {instance}")).clone()
    }
    /// Whether new work may go to an instance.
    pub fn is_eligible(&self, instance: &InstanceId) -> bool {
        self.node(instance)["SchedulingEligibility"] == "eligible"
    }
    /// Whether an instance is being drained.
    pub fn drains(&self, instance: &InstanceId) -> bool {
        self.node(instance)["Drain"] == true
    }
    /// The instance that is being drained, if any is.
    pub fn drained(&self) -> Option<InstanceId> {
        self.cloud.living().into_iter().find(|instance| self.drains(instance))
    }
    /// All allocations of a job that Nomad knows of.
    pub fn allocations(&self, job: &str) -> Vec<Value> {
        let path = format!("/v1/job/{job}/allocations?task_states=true");
        self.nomad.call("GET", &path, &Value::Null).as_array().expect("a list").clone()
    }
    /// The names of the nodes that allocations of a job run on, an allocation each.
    pub fn places(&self, job: &str) -> Vec<String> {
        let running = |one: &&Value| one["ClientStatus"] == "running" && one["DesiredStatus"] == "run";
        let allocations = self.allocations(job);
        let places = allocations.iter().filter(running).filter_map(|one| one["NodeName"].as_str());
        places.map(str::to_owned).collect()
    }
    /// When the last work of a job ended on an instance; `None` while some of it runs there.
    pub fn left(&self, job: &str, instance: &InstanceId) -> Option<Timestamp> {
        let allocations = self.allocations(job);
        let there = allocations.iter().filter(|one| one["NodeName"] == instance.as_str());
        let ends = there.flat_map(|one| {
            let tasks = one["TaskStates"].as_object().into_iter().flatten();
            tasks.map(|(_, task)| task["FinishedAt"].as_str().and_then(|at| Timestamp::parse(at).ok()))
        });
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

impl Drop for Site {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the job said: with Nomad it is gone")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", job::said(&self.nomad));
        }
    }
}

fn on_instance(instance: &InstanceId, consul: Option<&Consul>, agents: &mut Vec<Consul>) -> NomadClient {
    let consul = consul.map(|server| {
        let agent = server.join(instance.as_str());
        let address = agent.agent();
        agents.push(agent);
        address
    });
    NomadClient { consul, ..client(instance) }
}

/// A `muster-autoscaler run` whose HTTP is known.
pub struct Daemon {
    /// What its state is called, and the lock when it leads.
    pub name: &'static str,
    /// The process.
    pub running: Running,
    address: SocketAddr,
}

impl Daemon {
    /// Where it serves HTTP.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
    /// What `GET PATH` answers; `None` where nothing comes.
    pub fn get(&self, path: &str) -> Option<String> {
        get(self.address, path)
    }
    /// `GET /v1/fleets`.
    pub fn status(&self) -> Value {
        let body = wait_for("the status", || self.get("/v1/fleets"));
        serde_json::from_str(&body).expect("the status is JSON")
    }
    /// Whether one of its metrics, with its labels, is 1.
    pub fn measures(&self, metric: &str) -> bool {
        let line = format!("{metric} 1.0");
        self.get("/metrics").is_some_and(|text| text.lines().any(|one| one == line))
    }
    /// How often it has said this.
    pub fn said(&mut self, what: &str) -> usize {
        self.running.lines().iter().filter(|line| line.contains(what)).count()
    }
    /// How many writes of this operation it has begun.
    pub fn began(&mut self, operation: &str) -> usize {
        let operation = format!("\"{operation}\"");
        let lines = self.running.lines().iter();
        lines.filter(|line| line.contains("\"began a write\"") && line.contains(&operation)).count()
    }
    /// Tells it to stop, and sees that it does.
    pub fn stop(self) {
        self.running.signal("TERM");
        let (status, said) = self.running.end();
        assert!(status.success(), "{said}");
    }
}

/// What a server answers to `GET PATH` with success; `None` otherwise.
pub fn get(address: SocketAddr, path: &str) -> Option<String> {
    let answer = request(address, "GET", path, &[], "").ok()?;
    (answer.status == 200).then_some(answer.body)
}

/// Sends a request as [`request`] does, from an address of this host.
pub fn request_from(
    from: IpAddr,
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let length = body.len();
    let asked =
        format!("{method} {path} HTTP/1.0\r\nHost: {to}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let text = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        let mut stream = socket.connect(to).await?;
        stream.write_all(asked.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    });
    let text = text.expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer in HTTP");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, body: body.to_owned() }
}
