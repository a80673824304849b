//! The ways in to Vault and OpenBao that need no AWS, and what goes with a login when it ends: certificates that have a lease.

use crate::ground::{Cloud, Node, failure_of, state_of};
use crate::secrets::{in_sight, memory, must_lack};
use bootstrap_core::{State, Step};
use fleet::ports::Clock as _;
use fleet_clock::SystemClock;
use muster_test_servers::{Vault, VaultKind, VaultOptions, jwt, request, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const SECRET: &str = "planted-kv-3e91";
const ROLE: &str = "auth/approle/role/node";

/// A server with a secret, and a policy `node` by which that may be read and certificates may be had.
fn server(kind: VaultKind) -> Vault {
    let vault = Vault::start(&VaultOptions { kind, ..VaultOptions::default() });
    let policy =
        "path \"kv/*\" { capabilities = [\"read\"] }\npath \"pki/issue/*\" { capabilities = [\"update\"] }";
    vault.call("PUT", "sys/policies/acl/node", &json!({"policy": policy}));
    vault.call("POST", "sys/mounts/kv", &json!({"type": "kv"}));
    vault.call("POST", "kv/web", &json!({"password": SECRET}));
    vault
}

/// The same with AppRole: the role `node`, and `other` with the same rights.
pub(crate) fn server_with_approle(kind: VaultKind) -> Vault {
    let vault = server(kind);
    vault.call("POST", "sys/auth/approle", &json!({"type": "approle"}));
    for role in ["node", "other"] {
        let role = format!("auth/approle/role/{role}");
        vault.call("POST", &role, &json!({"token_policies": ["node"], "token_ttl": "20m"}));
    }
    vault
}

/// What a test puts into the node's `vault` block and into its directory of templates. `$SECRETS` is on tmpfs.
struct Wants<'a> {
    login: &'a str,
    /// Each by its name, which is that of its file and of its unit, too.
    templates: &'a [(&'a str, &'a str)],
}

fn node(cloud: &Cloud, vault: &Vault, secrets: &Path, wants: &Wants<'_>) -> Node {
    let named = |of: &dyn Fn(&str) -> String| {
        let texts: Vec<String> = wants.templates.iter().map(|(name, _)| of(name)).collect();
        texts.concat()
    };
    let units = named(&|name| format!("\"{name}.service\", "));
    let templates = named(&|name| {
        format!(
            "  template \"{name}\" {{\n    source = \"$PLACE/{name}.tmpl\"\n    path = \"$SECRETS/{name}\"\n    \
             reload = [\"{name}.service\"]\n  }}\n"
        )
    });
    let text = format!(
        "host {{\n  units = [{units}]\n}}\nvault {{\n  address = \"{}\"\n  token_file = \"$SECRETS/token\"\n  \
         revoke = \"stop\"\n{}{templates}}}\nstep \"vault\" {{\n  attempt = \"10s\"\n  pause = \"1s\"\n  \
         most_pause = \"1s\"\n  deadline = \"60s\"\n}}\n",
        vault.address(),
        wants.login,
    );
    let node = Node::new(cloud, 0, &text.replace("$SECRETS", &secrets.display().to_string()));
    for (name, text) in wants.templates {
        fs::write(node.path().join(format!("{name}.tmpl")), text).expect("written");
    }
    node
}

const APPROLE: &str =
    "  approle {\n    role_id_file = \"$PLACE/role_id\"\n    secret_id_file = \"$SECRETS/secret_id\"\n  }\n";

/// Puts there what [`APPROLE`] logs in by.
fn put_approle(node: &Node, vault: &Vault, secrets: &Path) {
    let role_id = vault.call("GET", &format!("{ROLE}/role-id"), &Value::Null);
    fs::write(node.path().join("role_id"), text(&role_id["data"]["role_id"])).expect("written");
    let secret_id = vault.call("POST", &format!("{ROLE}/secret-id"), &json!({}));
    fs::write(secrets.join("secret_id"), text(&secret_id["data"]["secret_id"])).expect("written");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// What a server says of a token to whoever has it.
fn told_of(vault: &Vault, token: &str) -> Value {
    let answer = vault.try_call_as(token, "GET", "auth/token/lookup-self", "").expect("it answers");
    answer.must_be_success();
    answer.json()["data"].clone()
}

fn revoke(vault: &Vault, token: &str) {
    vault.call("POST", "auth/token/revoke", &json!({"token": token}));
}

/// Waits for a token that is good and none of these.
fn another_token(node: &Node, vault: &Vault, secrets: &Path, but: &[&str]) -> String {
    node.verify_until("another token", || {
        let token = fs::read_to_string(secrets.join("token")).ok()?;
        (!but.contains(&token.as_str()) && vault.knows(&token)).then_some(token)
    })
}

/// Waits until the node has said this of its login, and has gone no further.
fn must_be_refused(node: &Node, secrets: &Path, words: &str) {
    let status = node.wait_until(words, |status| failure_of(status, Step::Vault).contains(words));
    assert_eq!(state_of(&status, Step::Vault), State::Failed, "{status:?}");
    assert_eq!(state_of(&status, Step::Ready), State::Waiting, "{status:?}");
    for name in ["token", "web"] {
        assert!(!secrets.join(name).exists(), "{name} is there without a login");
    }
}

fn a_node_logs_in_by_the_jwt_that_stands_in_its_file(kind: VaultKind) {
    let (cloud, secrets) = (Cloud::start(), memory());
    let (vault, secrets) = (server(kind), secrets.path());
    let login = "  jwt {\n    role = \"machines\"\n    file = \"$SECRETS/identity.jwt\"\n  }\n";
    let templates = [("web", "{{ secret('kv/web').password }}\n")];
    let mut node = node(&cloud, &vault, secrets, &Wants { login, templates: &templates });
    let now = SystemClock::new().wall().secs();
    let claims = json!({
        "sub": node.instance, "aud": "vault", "iss": "muster", "iat": now, "nbf": now, "exp": now + 600
    });
    // Two by whoever is believed, and one by somebody else who says the same.
    let ((token, key), (later, later_key), (strange, _)) = (jwt(&claims), jwt(&claims), jwt(&claims));
    let believe = |keys: &[&str]| {
        vault.call(
            "POST",
            "auth/jwt/config",
            &json!({"jwt_validation_pubkeys": keys, "bound_issuer": "muster"}),
        );
    };
    vault.call("POST", "sys/auth/jwt", &json!({"type": "jwt"}));
    believe(&[&key]);
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "bound_subject": node.instance,
        "token_policies": ["node"], "token_ttl": "20m"
    });
    vault.call("POST", "auth/jwt/role/machines", &role);
    let put = |jwt: &str| fs::write(secrets.join("identity.jwt"), format!("{jwt}\n")).expect("written");

    put(&strange);
    node.start();
    must_be_refused(&node, secrets, "POST auth/jwt/login was refused (400)");
    must_lack(&in_sight(&node), &[&strange]);

    // Whoever brings it has brought another one: nobody tells the agent.
    put(&token);
    node.wait_done();
    let first = fs::read_to_string(secrets.join("token")).expect("a token");
    let told = told_of(&vault, &first);
    assert_eq!((&told["path"], &told["meta"]["role"]), (&json!("auth/jwt/login"), &json!("machines")));
    assert_eq!(told["display_name"], format!("jwt-{}", node.instance), "it is this node's own");
    assert_eq!(fs::read_to_string(secrets.join("web")).expect("a secret"), format!("{SECRET}\n"));

    // The next login is by what stands there then: what the first one was by is worth nothing any more.
    put(&later);
    believe(&[&later_key]);
    revoke(&vault, &first);
    let second = another_token(&node, &vault, secrets, &[&first]);
    must_lack(&in_sight(&node), &[&strange, &token, &later, &first, &second, SECRET]);
    assert_eq!(node.stop(), 0);
    assert!(!vault.knows(&second), "it is revoked");
}

#[test]
fn a_node_logs_in_by_the_jwt_that_stands_in_its_file_on_vault() {
    a_node_logs_in_by_the_jwt_that_stands_in_its_file(VaultKind::Vault);
}

#[test]
fn a_node_logs_in_by_the_jwt_that_stands_in_its_file_on_openbao() {
    a_node_logs_in_by_the_jwt_that_stands_in_its_file(VaultKind::OpenBao);
}

/// As a thief does who has come to a secret id: wraps it, so that it looks as if nobody had.
fn wrapped_again(vault: &Vault, secret_id: &str) -> String {
    let at = vault.address().trim_start_matches("http://").parse().expect("an address");
    let headers = [("X-Vault-Token", vault.root()), ("X-Vault-Wrap-TTL", "120")];
    let body = json!({"secret_id": secret_id}).to_string();
    let answer = request(at, "POST", "/v1/sys/wrapping/wrap", &headers, &body).expect("it answers");
    answer.must_be_success();
    text(&answer.json()["wrap_info"]["token"])
}

/// Whether what it wraps can still be had.
fn is_unused(vault: &Vault, wrapping: &str) -> bool {
    let body = json!({"token": wrapping}).to_string();
    vault.try_call_as("", "POST", "sys/wrapping/lookup", &body).expect("it answers").status == 200
}

fn a_node_unwraps_its_secret_id_where_nobody_else_has_had_it(kind: VaultKind) {
    let (cloud, secrets) = (Cloud::start(), memory());
    let (vault, secrets) = (server_with_approle(kind), secrets.path());
    let login = format!(
        "  approle {{\n    role_id_file = \"$PLACE/role_id\"\n    secret_id_file = \"$SECRETS/wrapped\"\n    \
         creation_path = \"{ROLE}/secret-id\"\n    keep_file = \"$SECRETS/kept\"\n  }}\n"
    );
    let templates = [("web", "{{ secret('kv/web').password }}\n")];
    let mut node = node(&cloud, &vault, secrets, &Wants { login: &login, templates: &templates });
    let role_id = vault.call("GET", &format!("{ROLE}/role-id"), &Value::Null);
    fs::write(node.path().join("role_id"), text(&role_id["data"]["role_id"])).expect("written");
    let put = |wrapping: &str| fs::write(secrets.join("wrapped"), format!("{wrapping}\n")).expect("written");

    // Somebody was there before the node, which finds that out.
    let taken = vault.wrapped("POST", &format!("{ROLE}/secret-id"));
    let unwrapped = vault.try_call_as(&taken, "POST", "sys/wrapping/unwrap", "{}").expect("it answers");
    unwrapped.must_be_success();
    let stolen = text(&unwrapped.json()["data"]["secret_id"]);
    put(&taken);
    node.start();
    must_be_refused(&node, secrets, "somebody else has seen the secret id");

    // So they hide it: what is in there would let the node in. And one that was made for another role.
    let again = wrapped_again(&vault, &stolen);
    let others = vault.wrapped("POST", "auth/approle/role/other/secret-id");
    for (wrapping, made_by) in [(&again, "sys/wrapping/wrap"), (&others, "auth/approle/role/other/secret-id")]
    {
        put(wrapping);
        must_be_refused(&node, secrets, &format!("was made by {made_by}, not by {ROLE}/secret-id"));
        assert!(is_unused(&vault, wrapping), "nobody has touched it");
    }

    let ours = vault.wrapped("POST", &format!("{ROLE}/secret-id"));
    put(&ours);
    node.wait_done();
    assert!(!is_unused(&vault, &ours), "once and for nobody else");
    let first = fs::read_to_string(secrets.join("token")).expect("a token");
    let told = told_of(&vault, &first);
    assert_eq!((&told["path"], &told["meta"]["role_name"]), (&json!("auth/approle/login"), &json!("node")));
    assert_eq!(fs::read_to_string(secrets.join("web")).expect("a secret"), format!("{SECRET}\n"));
    let mode = fs::metadata(secrets.join("kept")).expect("it is kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it is nobody else's");
    let kept = fs::read_to_string(secrets.join("kept")).expect("it is kept");
    let secret_id = kept.lines().last().expect("a secret id").to_owned();

    // What was unwrapped is good for another process of the agent and another login.
    node.kill();
    revoke(&vault, &first);
    node.start();
    node.wait_done();
    let second = another_token(&node, &vault, secrets, &[&first]);
    must_lack(
        &in_sight(&node),
        &[&taken, &stolen, &again, &others, &ours, &secret_id, &first, &second, SECRET],
    );
    assert_eq!(node.stop(), 0);
    assert!(!vault.knows(&second), "it is revoked");
    assert!(!secrets.join("kept").exists(), "and nobody logs in by what is left");
}

#[test]
fn a_node_unwraps_its_secret_id_where_nobody_else_has_had_it_on_vault() {
    a_node_unwraps_its_secret_id_where_nobody_else_has_had_it(VaultKind::Vault);
}

#[test]
fn a_node_unwraps_its_secret_id_where_nobody_else_has_had_it_on_openbao() {
    a_node_unwraps_its_secret_id_where_nobody_else_has_had_it(VaultKind::OpenBao);
}

/// A process of the agent that lives longer than a token may: it renews it first, and then has another one.
fn a_token_is_renewed_while_it_may_be_and_had_anew_before_it_ends(kind: VaultKind) {
    let (cloud, secrets) = (Cloud::start(), memory());
    let (vault, secrets) = (server_with_approle(kind), secrets.path());
    vault.call("POST", ROLE, &json!({"token_ttl": "16s", "token_max_ttl": "24s"}));
    let mut node = node(&cloud, &vault, secrets, &Wants { login: APPROLE, templates: &[] });
    put_approle(&node, &vault, secrets);
    node.start();
    node.wait_done();
    let read = || fs::read_to_string(secrets.join("token")).expect("a token");
    let first = read();
    wait_for("the token to be renewed", || told_of(&vault, &first)["last_renewal"].is_string().then_some(()));
    assert_eq!(read(), first, "it is the one that the node logged in for");
    let second = wait_for("another token", || Some(read()).filter(|token| *token != first));
    assert!(vault.knows(&second));
    assert_eq!(state_of(&node.status().expect("a status"), Step::Vault), State::Done);
    must_lack(&in_sight(&node), &[first, second]);
}

#[test]
fn a_token_is_renewed_while_it_may_be_and_had_anew_before_it_ends_on_vault() {
    a_token_is_renewed_while_it_may_be_and_had_anew_before_it_ends(VaultKind::Vault);
}

#[test]
fn a_token_is_renewed_while_it_may_be_and_had_anew_before_it_ends_on_openbao() {
    a_token_is_renewed_while_it_may_be_and_had_anew_before_it_ends(VaultKind::OpenBao);
}

/// The ids of the leases of a role's certificates.
fn leases(vault: &Vault, role: &str) -> Vec<String> {
    let path = format!("sys/leases/lookup/pki/issue/{role}?list=true");
    let answer = vault.try_call_as(vault.root(), "GET", &path, "").expect("it answers");
    if answer.status == 404 {
        return Vec::new();
    }
    answer.must_be_success();
    answer.json()["data"]["keys"].as_array().expect("a list").iter().map(text).collect()
}

/// Whether a certificate is on the list of those that are not to be trusted any more.
fn is_revoked(vault: &Vault, serial: &str) -> bool {
    let told = vault.call("GET", &format!("pki/cert/{serial}"), &Value::Null);
    told["data"]["revocation_time"].as_u64().expect("a time") > 0
}

fn a_certificate_goes_with_the_login_where_its_role_says_so(kind: VaultKind) {
    let (cloud, secrets) = (Cloud::start(), memory());
    let (vault, secrets) = (server_with_approle(kind), secrets.path());
    vault.mount_pki(&[("leased", true), ("plain", false)]);
    let template = |role: &str| {
        format!(
            "{{% set c = pki('pki/issue/{role}', common_name='web.node') %}}\n{{{{ c.serial_number }}}}\n\
             {{{{ c.certificate }}}}\n{{{{ c.private_key }}}}\n"
        )
    };
    let (leased, plain) = (template("leased"), template("plain"));
    let templates = [("leased", leased.as_str()), ("plain", plain.as_str())];
    let mut node = node(&cloud, &vault, secrets, &Wants { login: APPROLE, templates: &templates });
    put_approle(&node, &vault, secrets);
    let read = |name: &str| fs::read_to_string(secrets.join(name)).expect("it is there");
    let serial = |name: &str| read(name).lines().next().expect("a serial number").to_owned();
    let units = node.units.clone();
    let reloads = |name: &str| {
        let reload = format!("try-reload-or-restart {name}.service");
        units.done().iter().filter(|done| **done == reload).count()
    };

    node.start();
    node.wait_done();
    let (first, stays, token) = (serial("leased"), read("plain"), read("token"));
    let of = leases(&vault, "leased");
    assert_eq!((of.len(), leases(&vault, "plain").len()), (1, 0));
    let lease = json!({"lease_id": format!("pki/issue/leased/{}", of[0])});
    let lease = &vault.call("PUT", "sys/leases/lookup", &lease)["data"];
    assert_eq!(lease["renewable"], false, "it is issued anew, as any certificate");
    let lasts = lease["ttl"].as_u64().expect("seconds");
    assert!((3000..=3600).contains(&lasts), "as long as the certificate: {lasts}");
    assert!(!is_revoked(&vault, &first));

    // A login that ends takes it along; the next one brings another, of which its unit hears.
    revoke(&vault, &token);
    wait_for("the end of the certificate", || is_revoked(&vault, &first).then_some(()));
    let next = another_token(&node, &vault, secrets, &[&token]);
    let second = wait_for("another certificate", || Some(serial("leased")).filter(|other| *other != first));
    assert!(!is_revoked(&vault, &second));
    wait_for("a second reload", || (reloads("leased") == 2).then_some(()));
    assert_eq!((read("plain"), reloads("plain")), (stays.clone(), 1), "one without a lease is not touched");
    let keys: Vec<String> = ["leased", "plain"].map(read).to_vec();
    let keys = keys.iter().filter_map(|text| text.split("PRIVATE KEY-----\n").nth(1)?.lines().next());
    let mut hidden: Vec<String> = keys.map(str::to_owned).collect();
    assert_eq!(hidden.len(), 2, "of each the first line of its key");
    hidden.extend([token, next.clone()]);
    must_lack(&in_sight(&node), &hidden);

    // The node ends.
    assert_eq!(node.stop(), 0);
    assert!(!vault.knows(&next), "it is revoked");
    wait_for("the end of the certificate", || is_revoked(&vault, &second).then_some(()));
    wait_for("the end of its lease", || leases(&vault, "leased").is_empty().then_some(()));
    let serial = stays.lines().next().expect("a serial number");
    assert!(!is_revoked(&vault, serial), "it is good until it lapses");
}

#[test]
fn a_certificate_goes_with_the_login_where_its_role_says_so_on_vault() {
    a_certificate_goes_with_the_login_where_its_role_says_so(VaultKind::Vault);
}

#[test]
fn a_certificate_goes_with_the_login_where_its_role_says_so_on_openbao() {
    a_certificate_goes_with_the_login_where_its_role_says_so(VaultKind::OpenBao);
}
