//! What a machine is told beside what its image knows.

use crate::site::{SERVER_ID, Site};
use muster_machine::STAT;
use serde_json::{Value, json};
use tests::ground::Cloud;

/// Templates of secrets: name, where it goes, text.
const SECRETS: [(&str, &str, &str); 4] = [
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
];

/// The files of a machine: absolute path, mode, text.
pub fn files(site: &Site, cloud: &Cloud) -> Vec<(String, u32, String)> {
    let registry = site.registry.at();
    let docker = format!(
        "{{\"auths\": {{\"{registry}\": {{\"auth\": \"{{{{ secret('kv/data/registry').auth }}}}\"}}}}}}\n"
    );
    let word = "{{ secret('kv/data/node').word }}\n".to_owned();
    let mut secrets: Vec<(&str, &str, String)> =
        SECRETS.iter().map(|(name, place, text)| (*name, *place, (*text).to_owned())).collect();
    secrets.push(("docker.json", "path = \"/run/muster/secrets/docker.json\"", docker));
    for (name, field) in [("awx-key", "key"), ("awx-token", "token")] {
        let place = if field == "key" {
            "path = \"/run/muster/secrets/awx-key\""
        } else {
            "path = \"/run/muster/secrets/awx-token\""
        };
        secrets.push((name, place, format!("{{{{ secret('kv/data/awx').{field} }}}}")));
    }
    secrets.push(("word", "path = \"/run/muster/secrets/word\"", word));
    let unit = format!("[Service]\nBindReadOnlyPaths={STAT}:/proc/stat\n");
    let mut files = vec![
        ("/etc/muster/aws-identity.pem".to_owned(), 0o644, cloud.certificate()),
        ("/etc/muster/bootstrap.hcl".to_owned(), 0o644, configuration(site, cloud, &secrets)),
        ("/etc/systemd/system/muster-bootstrap.service.d/machine.conf".to_owned(), 0o644, unit),
        (format!("/etc/docker/certs.d/{registry}/ca.crt"), 0o644, site.authority.pem()),
    ];
    files.extend(tests::awx::access(&site.awx.public_key()));
    files.extend(
        secrets.into_iter().map(|(name, _, text)| (format!("/etc/muster/templates/{name}.j2"), 0o644, text)),
    );
    files
}

fn configuration(site: &Site, cloud: &Cloud, secrets: &[(&str, &str, String)]) -> String {
    let escaped = |value: Value| json!(value.to_string()).to_string();
    let consul = escaped(json!({ "retry_interval": "1s" }));
    let nomad = escaped(json!({
        "acl": {"enabled": true},
        "consul": {
            "client_auto_join": false, "auto_advertise": false,
            "service_identity": {"aud": ["consul.io"], "ttl": "1h"}, "task_identity": {"aud": ["consul.io"], "ttl": "1h"},
        },
        "vault": {"enabled": true, "address": site.vault.address(), "jwt_auth_backend_path": "nomad"},
        "client": {"options": {"driver.allowlist": "docker"}},
        "plugin": {"docker": {"config": {"auth": {"config": "/run/muster/secrets/docker.json"}}}},
    }));
    let template = |(name, place, _): &(&str, &str, String)| {
        let source = format!("/etc/muster/templates/{name}.j2");
        format!("  template \"{name}\" {{\n    source = \"{source}\"\n    {place}\n  }}\n")
    };
    let templates: String = secrets.iter().map(template).collect();
    let (endpoint, vault, awx) = (cloud.endpoint(), site.vault.address(), site.awx.address());
    let (join, servers, registry) = (site.consul.gossip(), site.nomad.rpc(), site.registry.at());
    format!(
        r#"
identity {{
  certificates = ["/etc/muster/aws-identity.pem"]
}}
ready {{
  tag          = "muster:state"
  ec2_endpoint = "{endpoint}"
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
awx {{
  address  = "{awx}"
  template = 7
  key_file = "/run/muster/secrets/awx-key"
  token_file = "/run/muster/secrets/awx-token"
  jitter   = "0s"
  drift    = "0s"
}}
consul {{
  token_file = "/run/muster/secrets/consul-token"
  join       = ["{join}"]
  extra      = {consul}
  ttl        = "10s"
}}
nomad {{
  token_file = "/run/muster/secrets/nomad-token"
  servers    = ["{servers}"]
  drivers    = ["docker"]
  extra      = {nomad}
  registry {{
    image     = "{registry}/team/web:1"
    auth_file = "/run/muster/secrets/docker.json"
    ca_file   = "/etc/docker/certs.d/{registry}/ca.crt"
  }}
}}
watch {{
  verify = "30s"
  autoscaler {{
    fleet   = "web"
    service = "muster-autoscaler"
  }}
}}
"#
    )
}
