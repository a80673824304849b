//! All that a node may be given, at once: Vault by the role of its instance, and out of it what AWX, Consul, Nomad and a registry
//! are spoken to with; monitoring; an autoscaler.

use crate::awx_server::{Awx, KEY, TOKEN};
use crate::front::{Events, Scaler};
use crate::ground::{Node, PROXIES};
use crate::matrix::Proxy;
use crate::own::{self, Span};
use crate::secrets::{SERVER_ID, in_sight, memory, must_lack, vault};
use crate::services::Site;
use base64::Engine as _;
use bootstrap_agent::status::Status;
use bootstrap_core::State;
use fleet::ports::Clock as _;
use fleet::{Timestamp, parse_duration};
use fleet_clock::SystemClock;
use muster_test_servers::{Registry, Vault, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// What comes out of Vault.
const RENDERED: [&str; 5] = ["awx-key", "awx-token", "consul-token", "nomad-token", "docker.json"];
/// Of the registry.
const PASSWORD: &str = "planted-r3g1-77";

/// A node with all of it, and AWX for itself.
pub struct Whole {
    // In this order they end.
    pub site: Site,
    pub awx: Awx,
    /// Ways by TLS.
    ways: Vec<Proxy>,
    /// What is on tmpfs beside the agent's own.
    secrets: TempDir,
    servers: Arc<Servers>,
}

/// What all nodes have beside those of [`Site`].
struct Servers {
    vault: Vault,
    scaler: Scaler,
    registry: Registry,
}

impl Whole {
    /// Servers that run, and a node whose agent has not. * `count`: so many instances, of which this node is the first.
    pub fn start(count: u32) -> Self {
        let site = Site::with_instances(count);
        let vault = vault(&site.cloud);
        let (scaler, registry) = (Scaler::start(&Events::default()), Registry::start(PASSWORD));
        Self::of(site, &Arc::new(Servers { vault, scaler, registry }))
    }

    /// Another node, of the same servers. * `number`: of its instance.
    pub fn beside(&self, number: usize) -> Self {
        let site = self.site.beside(number, "\"raw_exec\"", "");
        Self::of(site, &self.servers)
    }

    fn of(site: Site, servers: &Arc<Servers>) -> Self {
        let awx = Awx::start();
        awx.state().ends_as = "successful";
        let secrets = memory();
        let s = secrets.path().display();
        let Servers { vault, scaler, registry } = &**servers;
        let (of_vault, of_awx, of_scaler) = (vault.address(), awx.address(), scaler.address());
        let templates = RENDERED.map(|name| {
            format!(
                "  template \"{name}\" {{\n    source = \"$PLACE/{name}.tmpl\"\n    path = \"{s}/{name}\"\n  }}\n"
            )
        });
        let templates = templates.concat();
        let more = format!(
            r#"
vault {{
  address = "{of_vault}"
  token_file = "{s}/token"
  revoke = "never"
  aws {{
    role = "node"
    server_id = "{SERVER_ID}"
  }}
{templates}}}
awx {{
  address = "{of_awx}"
  template = 7
  key_file = "{s}/awx-key"
  token_file = "{s}/awx-token"
  jitter = "0s"
}}
watch {{
  autoscaler {{
    fleet = "web"
    addresses = ["{of_scaler}"]
  }}
}}
"#
        );
        site.configure("\"raw_exec\"", &more);
        let whole = Self { site, awx, ways: Vec::new(), secrets, servers: Arc::clone(servers) };
        whole.put_in_vault(registry.at());
        whole
    }

    /// The same, where Vault, AWX and the node's agents of Consul and Nomad are spoken to by TLS: a connection a request. Consul's
    /// check is as often fed as it is where nothing is said of it, and Vault's token lasts as long as tokens do.
    fn by_tls() -> Self {
        let mut whole = Self::start(1);
        let Self { site, awx, servers, .. } = &whole;
        let vault = servers.vault.address().replace("http://", "").parse().expect("an address");
        let places =
            [("vault", vault), ("awx", awx.addr()), ("consul", site.consul_http), ("nomad", site.nomad_http)];
        let file = site.node.path().join("bootstrap.hcl");
        let mut text = fs::read_to_string(&file).expect("it is there");
        let mut ways = Vec::new();
        for (name, at) in places {
            let way = Proxy::start(at, true, None);
            let ca = site.node.path().join(format!("{name}-ca.pem"));
            fs::write(&ca, way.pem()).expect("written");
            let (before, by) = (format!("address = \"http://{at}\""), way.address());
            assert!(text.contains(&before), "{name} is at {at}");
            text = text.replace(&before, &format!("address = \"{by}\"\n  ca_file = \"{}\"", ca.display()));
            ways.push(way);
        }
        fs::write(file, text.replace("  ttl = \"10s\"\n", "")).expect("written");
        servers.vault.call("POST", "auth/aws/role/node", &json!({"token_ttl": "20m"}));
        // Nobody there is asked for anything that the agent asks for by itself.
        for name in PROXIES {
            whole.site.node.environment.push((name.to_owned(), "http://127.0.0.1:9".to_owned()));
        }
        whole.ways = ways;
        whole
    }

    /// Takes what is secret from the node and puts it into Vault, from where it gets it.
    fn put_in_vault(&self, registry: SocketAddr) {
        let (place, s) = (self.site.node.path(), self.secrets.path().display());
        let file = place.join("bootstrap.hcl");
        let mut text = fs::read_to_string(&file).expect("it is there");
        let mut held = json!({"awx-key": KEY, "awx-token": TOKEN});
        for name in ["consul-token", "nomad-token"] {
            let path = place.join(name);
            held[name] = json!(fs::read_to_string(&path).expect("it is there"));
            fs::remove_file(&path).expect("it is there");
            text = text.replace(&format!("\"{}\"", path.display()), &format!("\"{s}/{name}\""));
        }
        fs::write(file, text).expect("written");
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("node:{PASSWORD}"));
        held["docker.json"] = json!(json!({"auths": {registry.to_string(): {"auth": basic}}}).to_string());
        let path = format!("kv/data/nodes/{}", self.site.node.instance);
        self.servers.vault.call("POST", &path, &json!({"data": held}));
        for name in RENDERED {
            let template = format!("{{{{ secret('{path}')['{name}'] }}}}\n");
            fs::write(place.join(format!("{name}.tmpl")), template).expect("written");
        }
        let more = format!(
            "nomad {{\n  registry {{\n    image = \"{registry}/team/app:1\"\n    auth_file = \"{s}/docker.json\"\n    \
             insecure = true\n  }}\n}}\n"
        );
        fs::create_dir_all(place.join("conf.d")).expect("made");
        fs::write(place.join("conf.d/registry.hcl"), more).expect("written");
    }

    pub fn vault(&self) -> &Vault {
        &self.servers.vault
    }

    /// Where what comes out of Vault lies.
    pub fn secrets(&self) -> &Path {
        self.secrets.path()
    }

    /// The whole instance goes down.
    pub fn power_cut(&mut self) {
        self.site.power_cut();
        for entry in fs::read_dir(self.secrets.path()).expect("tmpfs").flatten() {
            fs::remove_file(entry.path()).expect("a file");
        }
    }

    /// What nobody may see.
    fn hidden(&self) -> Vec<String> {
        let read = |name: &&str| {
            fs::read_to_string(self.secrets.path().join(name)).expect("it is there").trim().to_owned()
        };
        let rendered = RENDERED.iter().chain(&["token"]).map(read);
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("node:{PASSWORD}"));
        let others = [PASSWORD, &basic, "planted-token-of-autoscaler"].map(str::to_owned);
        let keys = self.site.cloud.session_keys(&self.site.node.instance);
        rendered.chain(others).chain(keys).collect()
    }
}

/// Processor time of a process, its threads that have ended among it.
fn computed(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let ticks = rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks"));
    // Linux tells in hundredths of a second, whatever it counts in.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// What a process holds in memory, in MB: of its own, and with what it shares.
fn held(pid: u32) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells");
        line.trim_end_matches("kB").trim().parse::<f64>().expect("a number") / 1000.0
    };
    (of("RssAnon:"), of("VmRSS:"))
}

/// From when to when a process booted.
fn booted(status: &Status, begun: Timestamp) -> Span {
    let ended = status.report.steps.iter().map(|step| step.ended.expect("it stands"));
    (begun, ended.max().expect("there are steps"))
}

/// Starts over which a median is taken.
const RESTARTS: usize = 9;
/// After that long whatever a boot has left in memory is given back.
const SETTLED: Duration = Duration::from_secs(25);
/// How often it is looked at meanwhile.
const WINDOW: Duration = Duration::from_secs(30);

/// How long it is to be looked at, where somebody wants to know, as another filter of tests that fits none: `idle=330s`.
fn idles() -> Option<Duration> {
    let asked = std::env::args().find_map(|word| word.strip_prefix("idle=").map(str::to_owned));
    asked.map(|asked| parse_duration(&asked).expect("idle=330s"))
}

/// How much of a core a process takes in each of these windows.
fn shares(pid: u32, window: Duration, count: u32) -> Vec<f64> {
    let each = |_| {
        let before = computed(pid);
        // Not until something is so: a stretch of time is what is looked at.
        thread::sleep(window);
        computed(pid).saturating_sub(before).as_secs_f64() / window.as_secs_f64()
    };
    (0..count).map(each).collect()
}

/// What an agent takes that has nothing to do, but to look at everything from time to time.
fn idling(node: &Node, idles: Duration) -> Value {
    thread::sleep(SETTLED);
    let pid = node.pid();
    let looks = || node.log().matches("a file is as it should be file=\"nomad\"").count();
    let looked = looks();
    let window = WINDOW.min(idles);
    let mut shares = shares(pid, window, u32::try_from(idles.as_secs() / window.as_secs()).expect("few"));
    let looked = looks() - looked;
    assert!(looked > 0 || idles <= Duration::from_secs(300), "everything is looked at every five minutes");
    let mean = shares.iter().sum::<f64>() / f64::from(u32::try_from(shares.len()).expect("few"));
    shares.sort_by(f64::total_cmp);
    let (anonymous, resident) = held(pid);
    json!({
        "idle": mean, "idle_p50": shares[shares.len() / 2], "idle_worst": shares[shares.len() - 1],
        "idle_s": idles.as_secs(), "looks": looked, "anonymous_mb": anonymous, "resident_mb": resident,
    })
}

/// What it costs is said for whoever asks: `tests/bench whole`.
#[expect(clippy::print_stdout, reason = "the figures are shown")]
#[test]
fn a_node_with_everything_stands_shows_no_secret_and_an_agent_that_is_started_again_only_looks() {
    let clock = SystemClock::new();
    let mut whole = Whole::by_tls();
    let begun = clock.wall();
    whole.site.node.start();
    let status = whole.site.node.wait_done();
    assert!(status.report.steps.iter().all(|step| step.state == State::Done), "{status:?}");
    let first = booted(&status, begun);
    let computed = computed(whole.site.node.pid());
    let mut others = own::waited(&whole.site.node.log());
    others.extend(whole.site.node.units.took());
    let own = own::own(first, others);
    wait_for("load that is told", || (whole.servers.scaler.times("samples 0") > 0).then_some(()));
    must_lack(&in_sight(&whole.site.node), &whole.hidden());

    let (done, asked) = (whole.site.node.units.done(), whole.awx.state().callbacks);
    let mut restarts = Vec::new();
    for _ in 0..RESTARTS {
        whole.site.node.kill();
        let begun = clock.wall();
        whole.site.node.start();
        let (begun, ended) = booted(&whole.site.node.wait_done(), begun);
        restarts.push(ended.since(begun).as_millis());
    }
    restarts.sort_unstable();
    assert_eq!(whole.site.node.units.done(), done, "nothing is done again");
    assert_eq!((whole.awx.state().callbacks, asked), (1, 1), "nobody is asked again");

    let mut figures = idles().map_or_else(|| json!({}), |idles| idling(&whole.site.node, idles));
    figures["first_ms"] = json!(first.1.since(first.0).as_millis());
    figures["own_ms"] = json!(own.as_millis());
    figures["computed_ms"] = json!(computed.as_millis());
    figures["restarts_ms"] = json!(restarts);
    println!("a whole node: {figures}");
    must_lack(&in_sight(&whole.site.node), &whole.hidden());
}
