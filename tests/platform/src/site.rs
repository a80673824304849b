//! The servers of a site: Consul, Nomad, Vault, the registry; and who trusts whom.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use muster_test_servers::{
    Authority, Consul, ConsulOptions, Docker, Nomad, NomadClient, NomadOptions, Prometheus, Registry, Vault,
    VaultOptions, awx,
};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tests::job::{let_consul_trust, let_nomad_allow, let_vault_trust};

use crate::awx::Controller;
use crate::timeline::Timeline;
use std::sync::Arc;
use tests::ground::Cloud;

/// What the agent of a node may do in Consul.
const CONSUL_RULES: &str = include_str!("../../../bootstrap/policies/consul.hcl");
/// What Nomad's client of a node may do in Consul.
const CLIENT_RULES: &str = include_str!("../../../bootstrap/policies/consul-nomad.hcl");
/// What who asks a node for names may do in Consul.
const NAMES_RULES: &str = include_str!("../../../bootstrap/policies/consul-names.hcl");
/// What the agent may do in Nomad.
const NOMAD_RULES: &str = include_str!("../../../bootstrap/policies/nomad.hcl");
/// What the autoscaler may do in Nomad where it scales groups along.
const SCALING: &str = include_str!("../../../autoscaler/nomad/job/nomad-scaling-policy.hcl");
/// The password of the registry's user `node`.
const PASSWORD: &str = "r3g1stry-of-the-site";
/// The nodes that no fleet scales. Their names are short: the path of a task's API socket may have 107 bytes.
const CORE: [&str; 2] = ["a", "b"];

/// Servers that run.
pub struct Site {
    /// Nomad: one server, and two clients beside it for what keeps the fleet.
    pub nomad: Nomad,
    /// The agents of those two.
    _agents: Vec<Consul>,
    /// Consul: one server.
    pub consul: Consul,
    /// Vault, unsealed.
    pub vault: Vault,
    /// The private registry.
    pub registry: Registry,
    /// Who signs the site's certificates.
    pub authority: Authority,
    /// Prometheus, which finds everything in Consul.
    pub prometheus: Prometheus,
    /// AWX.
    pub awx: Controller,
    /// Where the workload's image is made.
    docker: Docker,
}

impl Site {
    /// Starts them, and has each know of the others what it needs.
    ///
    /// * `interface`: the machines' network.
    /// * `variables`: what its playbooks are to know, as `--extra-vars` takes it. * `timeline`: hears of AWX's jobs.
    pub fn start(cloud: &Arc<Cloud>, interface: &str, variables: String, timeline: &Timeline) -> Self {
        let awx = Controller::start(Arc::clone(cloud), variables, timeline.clone());
        let authority = Authority::new();
        let registry = Registry::start_trusted(PASSWORD, &authority);
        let docker = Docker::start_with(&[&format!("--insecure-registry={}", registry.at())]);
        let vault = Vault::start(&VaultOptions::default());
        let consul = Consul::start(&ConsulOptions { acl: true, dns: true, ..ConsulOptions::default() });
        let prometheus = Prometheus::start(&consul, &["prometheus-node-exporter", tests::job::NAME]);
        let agents = CORE.map(|name| consul.join(name));
        let core = |(name, agent): (&str, &Consul)| NomadClient {
            name: name.to_owned(),
            pool: Some("core".to_owned()),
            interface: Some(interface.to_owned()),
            consul: Some(agent.agent()),
            ..NomadClient::default()
        };
        let options = NomadOptions {
            acl: true,
            consul: Some(consul.agent()),
            clients: CORE.into_iter().zip(&agents).map(core).collect(),
            vault: Some(vault.address()),
            ..NomadOptions::default()
        };
        let nomad = Nomad::start(options);
        let site = Self {
            nomad,
            _agents: agents.into(),
            consul,
            vault,
            registry,
            authority,
            prometheus,
            awx,
            docker,
        };
        site.trust_nodes(cloud);
        site.trust_jobs(cloud);
        site.write_secrets();
        site
    }

    /// Nodes log in to Vault by their instances' role, and have tokens of Consul and Nomad from it.
    fn trust_nodes(&self, cloud: &Cloud) {
        let Self { vault, consul, nomad, .. } = self;
        cloud.let_nodes_log_in(vault);
        let read = |path: &str| format!("path \"{path}\" {{\n  capabilities = [\"read\"]\n}}\n");
        let rules = [
            "kv/data/registry",
            "kv/data/awx",
            "kv/data/node",
            "consul/creds/node",
            "consul/creds/client",
            "consul/creds/names",
            "nomad/creds/node",
        ]
        .map(read)
        .concat();
        vault.call("PUT", "sys/policies/acl/node", &json!({ "policy": rules }));

        // Vault's engine has one role for all nodes.
        let rules = CONSUL_RULES.replace("node \"INSTANCE\"", "node_prefix \"i-\"");
        let rules = rules.replace("agent \"INSTANCE\"", "agent_prefix \"i-\"");
        consul.call("PUT", "/v1/acl/policy", &json!({ "Name": "muster-node", "Rules": rules }));
        consul.call("PUT", "/v1/acl/policy", &json!({ "Name": "muster-client", "Rules": CLIENT_RULES }));
        consul.call("PUT", "/v1/acl/policy", &json!({ "Name": "muster-names", "Rules": NAMES_RULES }));
        vault.call("POST", "sys/mounts/consul", &json!({ "type": "consul" }));
        let access = json!({
            "address": consul.address().trim_start_matches("http://"), "scheme": "http", "token": consul.token(),
        });
        vault.call("POST", "consul/config/access", &access);
        for name in ["node", "client", "names"] {
            let role = json!({ "consul_policies": [format!("muster-{name}")], "ttl": "1h" });
            vault.call("POST", &format!("consul/roles/{name}"), &role);
        }

        let policy = json!({ "Name": "muster-node", "Rules": NOMAD_RULES });
        let answer = nomad.try_call("POST", "/v1/acl/policy/muster-node", &policy.to_string());
        answer.expect("it answers").must_be_success();
        vault.call("POST", "sys/mounts/nomad", &json!({ "type": "nomad" }));
        let access = json!({ "address": nomad.address(), "token": nomad.token() });
        vault.call("POST", "nomad/config/access", &access);
        vault.call("POST", "nomad/role/node", &json!({ "policies": "muster-node", "type": "client" }));
    }

    /// Jobs are to Consul, Vault, Nomad and AWS who Nomad says that they are.
    fn trust_jobs(&self, cloud: &Cloud) {
        let Self { vault, consul, nomad, .. } = self;
        let_consul_trust(consul, nomad, &["consul"]);
        let_nomad_allow(nomad);
        let policy = json!({
            "Name": "muster-autoscaler-scaling", "Rules": SCALING,
            "JobACL": { "Namespace": "default", "JobID": tests::job::NAME },
        });
        let answer = nomad.try_call("POST", "/v1/acl/policy/muster-autoscaler-scaling", &policy.to_string());
        answer.expect("it answers").must_be_success();
        cloud.trust(nomad, tests::job::NAME);
        let_vault_trust(vault, nomad);
        let role = json!({
            "role_type": "jwt", "bound_audiences": ["vault.io"], "user_claim": "sub",
            "token_type": "service", "token_policies": ["workloads"], "token_period": "30m",
            "claim_mappings": { "nomad_namespace": "nomad_namespace", "nomad_job_id": "nomad_job_id", "nomad_task": "nomad_task" },
        });
        vault.call("POST", "auth/nomad/role/nomad-workloads", &role);
        let mounts = vault.call("GET", "sys/auth", &Value::Null);
        let accessor = mounts["nomad/"]["accessor"].as_str().expect("it is mounted");
        let of = |field: &str| format!("{{{{identity.entity.aliases.{accessor}.metadata.{field}}}}}");
        let path = format!("kv/data/{}/{}/*", of("nomad_namespace"), of("nomad_job_id"));
        let rules = format!("path \"{path}\" {{\n  capabilities = [\"read\"]\n}}\n");
        vault.call("PUT", "sys/policies/acl/workloads", &json!({ "policy": rules }));
    }

    fn write_secrets(&self) {
        self.vault.mount_kv();
        self.set_secret("registry", "auth", &credentials());
        let awx = json!({ "data": { "key": awx::KEY, "token": awx::TOKEN } });
        self.vault.call("POST", "kv/data/awx", &awx);
        self.set_secret("node", "word", "first");
        self.set_secret("default/web/config", "word", "first");
    }

    /// Writes a secret of one field.
    pub fn set_secret(&self, path: &str, field: &str, value: &str) {
        self.vault.call("POST", &format!("kv/data/{path}"), &json!({ "data": { field: value } }));
    }

    /// Makes the workload's image and pushes it. * returns: its name.
    pub fn push(&self, tag: &str) -> String {
        let root = tempfile::tempdir().expect("a directory");
        let place = |path: &str| root.path().join(path);
        for path in ["bin", "www/cgi-bin", "tmp"] {
            fs::create_dir_all(place(path)).expect("a directory");
        }
        fs::copy("/bin/busybox", place("bin/busybox"))
            .expect("busybox is missing: apt-get install busybox-static");
        for name in ["sh", "cat", "httpd", "printf"] {
            std::os::unix::fs::symlink("busybox", place("bin").join(name)).expect("a link");
        }
        fs::write(place("www/health"), "ok\n").expect("a file");
        fs::write(place("www/version"), format!("{tag}\n")).expect("a file");
        // What a request costs: some hundredths of a second of a processor.
        let work = "#!/bin/sh\ni=0\nwhile [ $i -lt 20000 ]; do i=$((i+1)); done\n\
                    printf 'Content-Type: text/plain\\r\\n\\r\\n'\ncat /www/version /secrets/word\n";
        write_program(&place("www/cgi-bin/work"), work);
        // The first process of a container hears no signal that it does not ask for: it would be waited for in vain, and killed.
        let serve = "#!/bin/sh\ntrap 'exit 0' TERM\nhttpd -f -h /www -p \"$1\" &\nwait\n";
        write_program(&place("bin/serve"), serve);
        let name = format!("{}/team/web:{tag}", self.registry.at());
        self.docker.import(root.path(), &name, &["ENTRYPOINT [\"/bin/serve\"]", "ENV PATH=/bin"]);
        let config = json!({ "auths": { self.registry.at().to_string(): { "auth": credentials() } } });
        fs::write(root.path().join("config.json"), config.to_string()).expect("a file");
        self.docker.push(&name, root.path());
        name
    }
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
}

/// The registry's credentials, as Docker has them.
fn credentials() -> String {
    BASE64.encode(format!("node:{PASSWORD}"))
}
