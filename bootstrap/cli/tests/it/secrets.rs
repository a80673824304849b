//! Vault, by the role of the instance; Parameter Store; and where secrets must not be.

use crate::awx_server::{Awx, KEY};
use crate::ground::{Cloud, Node, failure_of, state_of};
use bootstrap_core::{Condition, State, Step};
use muster_test_servers::{Vault, VaultOptions, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

pub const SERVER_ID: &str = "vault.example.com";

/// A Vault that asks the cloud's STS, takes the instances' role for the role `node`, and has a secret.
pub fn vault(cloud: &Cloud) -> Vault {
    let vault = Vault::start(&VaultOptions::default());
    vault.call(
        "PUT",
        "sys/policies/acl/node",
        &json!({"policy": "path \"kv/data/*\" { capabilities = [\"read\"] }"}),
    );
    vault.call("POST", "sys/auth/aws", &json!({"type": "aws"}));
    let config = json!({
        "sts_endpoint": cloud.server.endpoint(), "sts_region": "us-east-1", "iam_server_id_header_value": SERVER_ID,
    });
    vault.call("POST", "auth/aws/config/client", &config);
    let account = cloud.world().spec().account.clone();
    let role = json!({
        "auth_type": "iam", "bound_iam_principal_arn": [format!("arn:aws:iam::{account}:role/muster-node")],
        "resolve_aws_unique_ids": false, "token_policies": ["node"], "token_ttl": "60s",
    });
    vault.call("POST", "auth/aws/role/node", &role);
    vault.call("POST", "auth/aws/role/other", &role);
    vault.mount_kv();
    vault.call("POST", "kv/data/awx", &json!({"data": {"key": KEY, "token": "planted-token-5b1d"}}));
    vault
}

/// Secrets come into memory: a directory on tmpfs.
pub fn memory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("muster-secrets-").tempdir_in("/dev/shm").expect("tmpfs")
}

pub fn configuration(vault: &Vault, secrets: &Path, more: &str) -> String {
    let (address, secrets) = (vault.address(), secrets.display());
    format!(
        r#"
host {{
  units = ["other.service"]
  file "other" {{
    path = "{secrets}/for-others"
    mode = "0640"
  }}
}}
vault {{
  address = "{address}"
  token_file = "{secrets}/token"
  refresh = "5s"
  revoke = "stop"
  aws {{
    role = "node"
    server_id = "{SERVER_ID}"
  }}
  template "awx" {{
    source = "$PLACE/awx.tmpl"
    path = "{secrets}/awx-key"
    remove_at_stop = true
  }}
  template "other" {{
    source = "$PLACE/other.tmpl"
    file = "other"
    reload = ["other.service"]
  }}
}}
step "vault" {{
  attempt = "10s"
  pause = "1s"
  most_pause = "1s"
  deadline = "60s"
}}
{more}
"#
    )
}

pub fn templates(node: &Node) {
    fs::write(node.path().join("awx.tmpl"), "{{ secret('kv/data/awx').key }}\n").expect("written");
    fs::write(node.path().join("other.tmpl"), "token={{ secret('kv/data/awx').token }}\n").expect("written");
}

/// What of an agent that runs can be seen from outside, each with its name.
pub fn in_sight(node: &Node) -> Vec<(String, String)> {
    let process = ["cmdline", "environ"].map(|what| {
        let path = format!("/proc/{}/{what}", node.pid());
        let text = fs::read(&path).expect("Linux tells");
        (path, String::from_utf8_lossy(&text).into_owned())
    });
    process.into_iter().chain(files_of(node)).collect()
}

/// The log, and every file that the agent writes: progress, status, metrics, what parameters said, answers of root.
fn files_of(node: &Node) -> Vec<(String, String)> {
    let mut files = vec![("the log".to_owned(), node.log())];
    let mut left = vec![node.path().join("state"), node.path().join("run")];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if path.ends_with("vault.state") {
                // By what is in it the next process of the agent goes on with the token of this one.
                let mode =
                    fs::metadata(&path).map_or(0o600, |metadata| metadata.permissions().mode() & 0o777);
                assert_eq!(mode, 0o600, "it is nobody else's");
            } else if let Ok(text) = fs::read(&path) {
                // One that is gone again was on its way to become another.
                files.push((path.display().to_string(), String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }
    for known in ["status.json", "muster_bootstrap.prom", "identity.json"] {
        assert!(files.iter().any(|(path, _)| path.ends_with(known)), "{known} is among them");
    }
    files
}

pub fn must_lack(seen: &[(String, String)], secrets: &[impl AsRef<str>]) {
    for (place, text) in seen {
        assert!(!secrets.iter().any(|secret| text.contains(secret.as_ref())), "a secret is shown in {place}");
    }
}

#[test]
fn the_role_of_the_instance_gets_the_secrets_that_awx_is_asked_with_and_the_end_revokes_them() {
    let (cloud, awx, secrets) = (Cloud::start(), Awx::start(), memory());
    let vault = vault(&cloud);
    awx.state().ends_as = "successful";
    let more = format!(
        "awx {{\n  address = \"{}\"\n  template = 7\n  key_file = \"{}/awx-key\"\n  token_file = \"$PLACE/api\"\n  jitter = \"0s\"\n}}\n",
        awx.address(),
        secrets.path().display()
    );
    let mut node = Node::new(&cloud, 0, &configuration(&vault, secrets.path(), &more));
    templates(&node);
    fs::write(node.path().join("api"), crate::awx_server::TOKEN).expect("written");
    node.start();
    node.wait_done();
    let read = |name: &str| fs::read_to_string(secrets.path().join(name)).expect("it is there");
    assert_eq!(read("awx-key").trim(), KEY);
    assert_eq!(read("for-others"), "token=planted-token-5b1d\n");
    let token = read("token");
    assert!(vault.knows(&token));
    // What changes in Vault changes on the node.
    vault.call("POST", "kv/data/awx", &json!({"data": {"key": KEY, "token": "planted-token-77aa"}}));
    wait_for("the new secret", || (read("for-others") == "token=planted-token-77aa\n").then_some(()));
    // A token that somebody revokes is had anew.
    let revoked =
        vault.try_call_as(vault.root(), "POST", "auth/token/revoke", &json!({"token": token}).to_string());
    revoked.expect("it answers").must_be_success();
    node.verify();
    let token = wait_for("another token", || {
        Some(read("token")).filter(|other| *other != token && vault.knows(other))
    });
    let mut seen = in_sight(&node);
    assert_eq!(node.stop(), 0);
    seen.extend(files_of(&node));
    must_lack(&seen, &[KEY, &token, "planted-token", crate::awx_server::TOKEN]);
    must_lack(&seen, &cloud.session_keys(&node.instance));
    assert!(!vault.knows(&token), "it is revoked");
    assert!(!secrets.path().join("token").exists() && !secrets.path().join("awx-key").exists());
    assert!(secrets.path().join("for-others").exists(), "others may go on with it");
}

#[test]
fn no_token_is_left_behind_by_other_settings_or_by_an_agent_that_did_not_come_far() {
    let (cloud, secrets) = (Cloud::start(), memory());
    let vault = vault(&cloud);
    // None lapses by itself.
    vault.call("POST", "auth/aws/role/node", &json!({"token_ttl": "1h"}));
    let of = |role: &str| {
        let role = format!("role = \"{role}\"");
        configuration(&vault, secrets.path(), "").replace("role = \"node\"", &role)
    };
    let mut node = Node::new(&cloud, 0, &of("node"));
    templates(&node);
    node.start();
    node.wait_done();
    let read = || fs::read_to_string(secrets.path().join("token")).unwrap_or_default();
    let first = read();
    assert!(vault.knows(&first));
    node.configure(&cloud.metadata(&node.instance), &of("other"));
    node.verify();
    wait_for("the other role's token", || (!read().is_empty() && read() != first).then_some(()));
    wait_for("the end of the one before", || (!vault.knows(&first)).then_some(()));
    let second = read();
    assert!(vault.knows(&second));
    // Settings by which nobody is let in, and those from before them: the token is gone on with.
    node.configure(&cloud.metadata(&node.instance), &of("nobody"));
    node.verify();
    node.wait_until("a refusal", |status| failure_of(status, Step::Vault).contains("nobody"));
    node.configure(&cloud.metadata(&node.instance), &of("other"));
    node.verify();
    node.wait_until("what was before", |status| state_of(status, Step::Vault) == State::Done);
    assert_eq!((read(), vault.knows(&second)), (second.clone(), true));
    // It is started again, and told to end before it knows which instance it is on.
    node.kill();
    fs::remove_file(node.path().join("run/identity.json")).expect("it was known");
    node.configure("http://127.0.0.1:9", &of("other"));
    node.start();
    node.wait_until("a metadata service", |status| state_of(status, Step::Identity) != State::Done);
    assert!(vault.knows(&second));
    assert_eq!(node.stop(), 0);
    assert!(!vault.knows(&second), "it is revoked");
    assert!(!secrets.path().join("token").exists());
}

#[test]
fn a_reload_that_the_agent_did_not_live_to_ask_for_is_done_once_by_the_next_one() {
    let (cloud, secrets) = (Cloud::start(), memory());
    let vault = vault(&cloud);
    let mut node = Node::new(&cloud, 0, &configuration(&vault, secrets.path(), ""));
    templates(&node);
    let reload = "try-reload-or-restart other.service".to_owned();
    let placed = || fs::read_to_string(secrets.path().join("for-others")).unwrap_or_default();
    node.start();
    node.wait_done();
    wait_for("the first reload", || (node.units.done() == [reload.clone()]).then_some(()));
    // Root has written the file, and then the agent dies.
    node.units.die_at_reload(node.pid());
    vault.call("POST", "kv/data/awx", &json!({"data": {"key": KEY, "token": "planted-token-77aa"}}));
    let mut agent = node.take();
    agent.wait().expect("it is killed");
    assert_eq!(placed(), "token=planted-token-77aa\n");
    assert_eq!(node.units.done().len(), 1, "nobody has told the unit");
    node.start();
    node.wait_done();
    assert_eq!(node.units.done(), [reload.clone(), reload.clone()], "now it knows");
    // And once is enough.
    node.kill();
    node.start();
    node.wait_done();
    assert_eq!(node.units.done(), [reload.clone(), reload]);
    assert_eq!(fs::read_dir(node.path().join("run/reloads")).expect("it was made").count(), 0);
}

#[test]
fn a_vault_that_is_sealed_is_waited_for_and_one_that_refuses_is_told() {
    let (cloud, secrets) = (Cloud::start(), memory());
    let mut vault = vault(&cloud);
    vault.seal();
    let mut node = Node::new(&cloud, 0, &configuration(&vault, secrets.path(), ""));
    templates(&node);
    node.start();
    let status = node.wait_state(Step::Vault, State::Retrying);
    assert!(failure_of(&status, Step::Vault).to_lowercase().contains("sealed"), "{status:?}");
    vault.unseal();
    node.wait_done();
    node.stop();
    vault.call("DELETE", "auth/aws/role/node", &Value::Null);
    node.start();
    let status = node.wait_until("a refusal", |status| failure_of(status, Step::Vault).contains("node"));
    assert!(failure_of(&status, Step::Vault).contains("not found"), "{status:?}");
    // Nor does a login that was refused show what it was signed with.
    must_lack(&in_sight(&node), &cloud.session_keys(&node.instance));
}

#[test]
fn parameters_say_what_files_do_not_and_hold_the_key_of_awx() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().ends_as = "successful";
    let endpoint = cloud.server.endpoint();
    let fragment = format!(
        "awx {{\n  address = \"{}\"\n  template = 7\n  key_parameter = \"/muster/web/awx-key\"\n  jitter = \"0s\"\n}}\n",
        awx.address()
    );
    cloud.put_parameter("/muster/web/awx", "String", &fragment);
    cloud.put_parameter("/muster/web/awx-key", "SecureString", KEY);
    // Beneath the path of the fragments, and none.
    cloud.put_parameter("/muster/web/other", "SecureString", "planted-parameter-4c2a");
    let files = format!(
        "parameters {{\n  path = \"/muster/web\"\n  endpoint = \"{endpoint}\"\n}}\n\
         ready {{\n  tag = \"muster:state\"\n  ec2_endpoint = \"{endpoint}\"\n}}\n"
    );
    let mut node = Node::new(&cloud, 0, &files);
    node.start();
    wait_for("a job", || (awx.state().jobs.len() == 1).then_some(()));
    let directory = node.path().join("state/awx");
    fs::create_dir_all(&directory).expect("made");
    let completion = json!({"job": 1, "instance": node.instance, "status": "successful"});
    fs::write(directory.join("1.json"), completion.to_string()).expect("written");
    node.wait_done();
    must_lack(&in_sight(&node), &[KEY, "planted-parameter"]);
    must_lack(&in_sight(&node), &cloud.session_keys(&node.instance));
    let tags = cloud
        .world()
        .shown_instances()
        .into_iter()
        .find(|shown| shown.id == node.instance)
        .expect("it is there")
        .tags;
    assert_eq!(tags.get("muster:state").map(String::as_str), Some("ready"));
    // A fragment that is wrong is told with its name and line, and what held before goes on.
    cloud.put_parameter("/muster/web/watch", "String", "watch {\n  samples = 7\n}\n");
    node.verify();
    let status = node.wait_until("what is wrong", |status| !status.alarms.is_empty());
    let alarm = &status.alarms[0];
    assert!(alarm.contains("ssm:/muster/web/watch:2:13: watch.samples: 7 is a number"), "{alarm}");
    assert_eq!(status.report.condition, Condition::Done, "what held before goes on");
    assert!(node.path().join("run/ready").exists(), "it works on");
    // So it does for another process of the agent.
    node.kill();
    node.start();
    let status = node.wait_done();
    assert!(status.alarms.iter().any(|alarm| alarm.contains("watch.samples")), "{status:?}");
    assert!(node.path().join("run/ready").exists(), "it works on");
    assert_eq!(awx.state().callbacks, 1, "it knows of AWX by the parameters of before");
    cloud.put_parameter("/muster/web/watch", "String", "watch {\n  samples = \"7s\"\n}\n");
    node.verify();
    node.wait_until("an end of the alarm", |status| status.alarms.is_empty());
    let seen = in_sight(&node);
    assert!(
        seen.iter().any(|(path, text)| path.ends_with("said.json") && text.contains("/muster/web/awx")),
        "what parameters said, but for secrets"
    );
    must_lack(&seen, &[KEY, "planted-parameter"]);
}

#[test]
fn a_token_for_another_user_is_written_by_root_and_comes_back_when_somebody_changes_it() {
    let (cloud, secrets) = (Cloud::start(), memory());
    let vault = vault(&cloud);
    let (path, nobody) = (secrets.path().join("for-app"), 65_534);
    let text = configuration(&vault, secrets.path(), "");
    let own = format!("  token_file = \"{}/token\"\n", secrets.path().display());
    assert!(text.contains(&own));
    let rule = |path: &Path| {
        format!(
            "host {{\n  file \"token\" {{\n    path = \"{}\"\n    owner = \"{nobody}\"\n    group = \"{nobody}\"\n    \
             mode = \"0400\"\n  }}",
            path.display()
        )
    };
    let text = text.replace(&own, "  file = \"token\"\n");
    let mut node = Node::new(&cloud, 0, &text.replacen("host {", &rule(&path), 1));
    templates(&node);
    node.start();
    node.wait_done();
    let held = || {
        let of = fs::metadata(&path).ok()?;
        assert_eq!((of.uid(), of.gid(), of.permissions().mode() & 0o777), (nobody, nobody, 0o400));
        fs::read_to_string(&path).ok().filter(|token| vault.knows(token))
    };
    let token = held().expect("a token");
    let other = secrets.path().join("for-others");
    for changed in [&path, &other] {
        let before = fs::read_to_string(changed).expect("it is there");
        let is_back = || fs::read_to_string(changed).ok().filter(|text| *text == before);
        fs::write(changed, "changed").expect("written");
        node.verify_until("the file as it was", is_back);
        fs::remove_file(changed).expect("it is there");
        node.verify_until("the file", is_back);
    }
    assert_eq!(held(), Some(token.clone()));
    let revoked =
        vault.try_call_as(vault.root(), "POST", "auth/token/revoke", &json!({"token": token}).to_string());
    revoked.expect("it answers").must_be_success();
    let second = node.verify_until("another token", || held().filter(|other| *other != token));
    must_lack(&in_sight(&node), &[token, second]);
    node.kill();
    // On a disk it is not left.
    let on_disk = node.path().join("token");
    node.configure(&cloud.metadata(&node.instance), &text.replacen("host {", &rule(&on_disk), 1));
    node.start();
    let status = node.wait_state(Step::Vault, State::Failed);
    assert!(failure_of(&status, Step::Vault).contains("would not be in memory"), "{status:?}");
    assert!(!on_disk.exists());
}
