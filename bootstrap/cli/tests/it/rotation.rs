//! Secrets on a machine whose units use them: a real systemd reloads those when one has changed, and nobody sees any.

use crate::ground::Cloud;
use crate::machine::{Machine, UNIT};
use crate::onlooker::Onlooker;
use crate::secrets::{SERVER_ID, must_lack, vault};
use muster_test_servers::Vault;
use serde_json::json;

/// A service that uses a file, and reads it when it is told to.
const APP: &str = "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/cp /etc/app.conf /run/app.loaded\n\
                   [Install]\nWantedBy=multi-user.target\n";
/// What the environment of either unit has in this test alone: whoever looks on sees by it that he sees all of it.
const MARKED: [(&str, &str); 2] =
    [(UNIT, "SEEN=rotation-agent"), ("muster-host.service", "SEEN=rotation-root")];
const CERTIFICATE: &str = "{% set c = pki('pki/issue/web', common_name='web.node') %}\n{{ c.private_key }}\n";

/// The Vault of [`vault`] that issues certificates, too.
fn vault_with_pki(cloud: &Cloud) -> Vault {
    let vault = vault(cloud);
    let policy = "path \"kv/data/*\" { capabilities = [\"read\"] }\npath \"pki/issue/*\" { capabilities = [\"update\"] }";
    vault.call("PUT", "sys/policies/acl/node", &json!({"policy": policy}));
    vault.mount_pki(&[("web", false)]);
    vault
}

fn machine(cloud: &Cloud, vault: &Vault) -> Machine {
    let machine = Machine::new(cloud, |machine| {
        let at = vault.address().trim_start_matches("http://").parse().expect("an address");
        format!(
            r#"
host {{
  units = ["app.service"]
  file "app" {{
    path = "/etc/app.conf"
    mode = "0440"
  }}
}}
vault {{
  address = "http://{}"
  token_file = "/run/muster/vault-token"
  refresh = "5s"
  aws {{
    role = "node"
    server_id = "{SERVER_ID}"
  }}
  template "app" {{
    source = "/etc/muster/templates/app"
    file = "app"
    reload = ["app.service"]
  }}
  template "certificate" {{
    source = "/etc/muster/templates/certificate"
    path = "/run/muster/secrets/key.pem"
  }}
}}
"#,
            machine.reachable(at)
        )
    });
    machine.write("etc/muster/templates/app", 0o644, "token={{ secret('kv/data/awx').token }}\n");
    machine.write("etc/muster/templates/certificate", 0o644, CERTIFICATE);
    machine.write("etc/systemd/system/app.service", 0o644, APP);
    machine.chroot(&["systemctl", "enable", "app.service"]);
    for (unit, mark) in MARKED {
        let text = format!("[Service]\nEnvironment=MUSTER_LOG=debug {mark}\n");
        machine.write(&format!("etc/systemd/system/{unit}.d/test.conf"), 0o644, &text);
    }
    machine
}

#[test]
fn systemd_reloads_the_unit_whose_secret_has_changed_and_nobody_sees_one() {
    let (cloud, onlooker) = (Cloud::start(), Onlooker::start());
    let vault = vault_with_pki(&cloud);
    let mut machine = machine(&cloud, &vault);
    machine.boot();
    machine.wait_active();
    assert_eq!(machine.run(&["cat", "/etc/app.conf"]), "token=planted-token-5b1d");
    let (app, agent) = (machine.property("app.service", "MainPID"), machine.property(UNIT, "MainPID"));
    for (unit, _) in MARKED {
        assert_eq!(machine.property(unit, "LimitCORE"), "0", "{unit} leaves no dump of its memory");
    }

    vault.call("POST", "kv/data/awx", &json!({"data": {"token": "planted-token-77aa"}}));
    machine.wait_until("the service to have read its new secret", || {
        let loaded = machine.try_run(&["cat", "/run/app.loaded"])?;
        (loaded.stdout == b"token=planted-token-77aa\n").then_some(())
    });
    assert_eq!(machine.property("app.service", "MainPID"), app, "it is told, and not started again");
    assert_eq!(machine.property(UNIT, "MainPID"), agent);

    let token = machine.run(&["cat", "/run/muster/vault-token"]);
    assert!(vault.knows(&token));
    let key = machine.run(&["cat", "/run/muster/secrets/key.pem"]);
    let key = key.lines().nth(1).expect("the first line of a key after its heading").to_owned();
    let mut secrets = vec!["planted-token".to_owned(), token, key];
    secrets.extend(cloud.session_keys(&machine.instance));
    let journal = machine.run(&["journalctl", "--no-pager", "--all", "--output=verbose"]);
    assert!(journal.contains("Reloaded app.service"), "it tells of the reload");
    must_lack(&[("the journal".to_owned(), journal)], &secrets);
    onlooker.saw_none_of(&secrets, &MARKED.map(|(_, mark)| mark));
}
