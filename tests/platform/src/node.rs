//! What a node is told: by its image, by its user data, and by Parameter Store.

use crate::site::Site;
use muster_machine::OF_PROC;
use serde_json::{Value, json};
use tests::ground::{Cloud, SERVER_ID};

/// What Terraform gives the instances of a fleet.
const USER_DATA: &str = include_str!("../../../fleet/terraform/modules/fleet/user-data.yaml.tftpl");
/// Where in Parameter Store the fleet's configuration is.
const PATH: &str = "/muster/web";
/// Templates of secrets: name, where it goes, text.
const SECRETS: [(&str, &str, &str); 7] = [
    (
        "consul-token",
        "path = \"/run/muster/secrets/consul-token\"",
        "{{ secret('consul/creds/node').token }}",
    ),
    (
        "nomad-token",
        "path = \"/run/muster/secrets/nomad-token\"",
        "{{ secret('nomad/creds/node').secret_id }}",
    ),
    (
        "consul-agent",
        "file = \"consul_agent\"\n    on_disk = true\n    reload = [\"consul.service\"]",
        "{\"acl\": {\"enabled\": true, \"default_policy\": \"deny\", \"tokens\": {\"agent\": \"{{ \
         secret('consul/creds/node').token }}\", \"default\": \"{{ secret('consul/creds/names').token }}\"}}}\n",
    ),
    (
        "nomad-consul",
        "file = \"nomad_consul\"\n    on_disk = true",
        "{\"consul\": {\"token\": \"{{ secret('consul/creds/client').token }}\"}}\n",
    ),
    ("awx-key", "path = \"/run/muster/secrets/awx-key\"", "{{ secret('kv/data/awx').key }}"),
    ("awx-token", "path = \"/run/muster/secrets/awx-token\"", "{{ secret('kv/data/awx').token }}"),
    ("word", "path = \"/run/muster/secrets/word\"", "{{ secret('kv/data/node').word }}\n"),
];

/// The templates of secrets that the image has: name, where each goes, text.
fn secrets(site: &Site) -> Vec<(&'static str, &'static str, String)> {
    let registry = site.registry.at();
    let docker = format!(
        "{{\"auths\": {{\"{registry}\": {{\"auth\": \"{{{{ secret('kv/data/registry').auth }}}}\"}}}}}}\n"
    );
    let mut secrets: Vec<_> =
        SECRETS.iter().map(|(name, place, text)| (*name, *place, (*text).to_owned())).collect();
    secrets.push(("docker.json", "path = \"/run/muster/secrets/docker.json\"", docker));
    secrets
}

/// What an image of this site has beside what the playbook's variables say: absolute path, mode, text.
pub fn files(site: &Site, cloud: &Cloud) -> Vec<(String, u32, String)> {
    let registry = site.registry.at();
    let own = OF_PROC.map(|(name, at)| format!("BindReadOnlyPaths={at}:/proc/{name}\n"));
    let unit = format!("[Service]\n{}", own.concat());
    let mut files = vec![
        ("/etc/muster/aws-identity.pem".to_owned(), 0o644, cloud.certificate()),
        ("/etc/muster/bootstrap.hcl".to_owned(), 0o644, of_image(site, cloud)),
        ("/etc/systemd/system/muster-bootstrap.service.d/machine.conf".to_owned(), 0o644, unit),
        (format!("/etc/docker/certs.d/{registry}/ca.crt"), 0o644, site.authority.pem()),
    ];
    files.extend(tests::awx::access(&site.awx.public_key()));
    let template = |(name, _, text)| (format!("/etc/muster/templates/{name}.j2"), 0o644, text);
    files.extend(secrets(site).into_iter().map(template));
    files
}

/// The user data of the fleet's instances, by the module's own template: it says where the rest is to be read.
pub fn user_data() -> String {
    USER_DATA.replace("${configuration_path}", PATH)
}

/// What the image knows of its site: who signs documents, what is done as root, where this region's services are, and AWX, of which
/// one node is told more by a file of its own: parameters are heard over files.
fn of_image(site: &Site, cloud: &Cloud) -> String {
    let image = format!(
        r#"
identity {{
  certificates = ["/etc/muster/aws-identity.pem"]
}}
parameters {{
  endpoint = "{}"
}}
host {{
  file "consul_agent" {{
    path  = "/etc/consul.d/agent.json"
    group = "consul"
    mode  = "0640"
  }}
  file "nomad_consul" {{
    path = "/etc/nomad.d/consul.json"
  }}
}}
"#,
        cloud.endpoint()
    );
    image + &of_awx(site)
}

/// What the fleet's nodes are told besides, by the parameters of [`PATH`]: name, and a fragment of HCL.
pub fn parameters(site: &Site, cloud: &Cloud) -> Vec<(String, String)> {
    let endpoint = cloud.endpoint();
    let ready = format!("ready {{\n  tag          = \"muster:state\"\n  ec2_endpoint = \"{endpoint}\"\n}}\n");
    let watch = "watch {\n  verify = \"30s\"\n  autoscaler {\n    fleet   = \"web\"\n    service = \"muster-autoscaler\"\n  }\n}\n";
    let fragments = [
        ("10-fleet", format!("{ready}{watch}")),
        ("20-vault", of_vault(site, cloud)),
        ("30-consul", of_consul(site)),
        ("40-nomad", of_nomad(site)),
    ];
    fragments.map(|(name, text)| (format!("{PATH}/{name}"), text)).into()
}

fn of_vault(site: &Site, cloud: &Cloud) -> String {
    let template = |(name, place, _): &(&str, &str, String)| {
        let source = format!("/etc/muster/templates/{name}.j2");
        format!("  template \"{name}\" {{\n    source = \"{source}\"\n    {place}\n  }}\n")
    };
    let templates: String = secrets(site).iter().map(template).collect();
    let (endpoint, vault) = (cloud.endpoint(), site.vault.address());
    format!(
        r#"
vault {{
  address = "{vault}"
  refresh = "10s"
  aws {{
    role         = "node"
    server_id    = "{SERVER_ID}"
    region       = "us-east-1"
    sts_endpoint = "{endpoint}"
  }}
{templates}}}
"#
    )
}

fn of_awx(site: &Site) -> String {
    format!(
        r#"
awx {{
  address    = "{}"
  template   = 7
  key_file   = "/run/muster/secrets/awx-key"
  token_file = "/run/muster/secrets/awx-token"
  jitter     = "0s"
  drift      = "0s"
}}
"#,
        site.awx.address()
    )
}

fn of_consul(site: &Site) -> String {
    let extra = escaped(&json!({ "retry_interval": "1s" }));
    format!(
        r#"
consul {{
  token_file = "/run/muster/secrets/consul-token"
  join       = ["{}"]
  extra      = {extra}
  ttl        = "10s"
}}
"#,
        site.consul.gossip()
    )
}

fn of_nomad(site: &Site) -> String {
    let extra = escaped(&json!({
        "acl": {"enabled": true},
        "consul": {
            "client_auto_join": false, "auto_advertise": false,
            "service_identity": {"aud": ["consul.io"], "ttl": "1h"}, "task_identity": {"aud": ["consul.io"], "ttl": "1h"},
        },
        "vault": {"enabled": true, "address": site.vault.address(), "jwt_auth_backend_path": "nomad"},
        "client": {"options": {"driver.allowlist": "docker"}},
        "plugin": {"docker": {"config": {"auth": {"config": "/run/muster/secrets/docker.json"}}}},
    }));
    let (servers, registry) = (site.nomad.rpc(), site.registry.at());
    format!(
        r#"
nomad {{
  token_file = "/run/muster/secrets/nomad-token"
  servers    = ["{servers}"]
  drivers    = ["docker"]
  extra      = {extra}
  registry {{
    image     = "{registry}/team/web:1"
    auth_file = "/run/muster/secrets/docker.json"
    ca_file   = "/etc/docker/certs.d/{registry}/ca.crt"
  }}
}}
"#
    )
}

/// JSON as a string of HCL.
fn escaped(value: &Value) -> String {
    json!(value.to_string()).to_string()
}
