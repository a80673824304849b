//! A private registry and a real Docker daemon: what was tried is what work is pulled with, and it is shown nowhere.

use crate::agents::on_path;
use crate::services::Site;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bootstrap_core::Step;
use muster_test_servers::{Docker, Registry, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const PASSWORD: &str = "planted-pull-41c8";

/// All that is in a directory's files, one after the other.
fn texts(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).expect("it is there").flatten() {
        let path = entry.path();
        // What is on its way may be gone by now.
        text += &if path.is_dir() { texts(&path) } else { fs::read_to_string(path).unwrap_or_default() };
    }
    text
}

/// Credentials as Docker keeps them.
fn config(registry: &str, password: &str) -> String {
    json!({"auths": {registry: {"auth": STANDARD.encode(format!("node:{password}"))}}}).to_string()
}

impl Site {
    /// Nomad has the driver, and the node a registry whose image is tried.
    fn with_docker(&self, docker: &Docker, image: &str) {
        let path = self.node.path().join("bootstrap.hcl");
        let text = fs::read_to_string(&path).expect("it is there");
        let escaped = |text: &str| text.replace('"', "\\\"");
        let driver = json!({"endpoint": format!("unix://{}", docker.socket().display()),
            "gc": {"image": false, "dangling_containers": {"enabled": false}}});
        let plugin = format!(r#""plugin":{{"docker":{{"config":{driver}}},"#);
        let auth = self.node.path().join("docker.json");
        let registry = format!(
            "\nnomad {{\n  registry {{\n    image = \"{image}\"\n    auth_file = \"{}\"\n    insecure = true\n  }}\n",
            auth.display()
        );
        let changed = text
            .replace(
                &escaped(r#""driver.allowlist":"raw_exec""#),
                &escaped(r#""driver.allowlist":"raw_exec,docker""#),
            )
            .replace(&escaped(r#""plugin":{"#), &escaped(&plugin))
            .replace("\nnomad {\n", &registry);
        assert!(
            changed.contains("raw_exec,docker")
                && changed.contains("unix://")
                && changed.contains("registry")
        );
        fs::write(path, changed).expect("written");
    }
}

#[test]
fn an_image_that_needs_credentials_runs_on_a_node_that_was_proved_with_them() {
    let (docker, registry) = (Docker::start(), Registry::start(PASSWORD));
    let at = registry.at().to_string();
    let image = format!("{at}/team/work:1");
    let place = tempfile::tempdir().expect("a directory");
    fs::create_dir(place.path().join("root")).expect("made");
    fs::copy(on_path("busybox", "busybox-static"), place.path().join("root/busybox")).expect("copied");
    fs::write(place.path().join("config.json"), config(&at, PASSWORD)).expect("written");
    docker.import(&place.path().join("root"), &image, &["CMD [\"/busybox\", \"sleep\", \"3600\"]"]);
    docker.push(&image, place.path());
    docker.remove(&image);
    assert!(!docker.pulls(&image), "it needs credentials");

    let mut site = Site::new("\"docker\"", "");
    site.with_docker(&docker, &image);
    let credentials = site.node.path().join("docker.json");
    fs::write(&credentials, config(&at, "another")).expect("written");
    let job = json!({
        "ID": "contained", "Name": "contained", "Type": "service", "Datacenters": ["dc1"], "NodePool": "default",
        "TaskGroups": [{
            "Name": "work", "Count": 1,
            "Tasks": [{
                "Name": "sleep", "Driver": "docker", "Config": {"image": image, "network_mode": "host"},
                "Resources": {"CPU": 50, "MemoryMB": 32},
            }],
        }],
    });
    site.nomad.register(&job);
    site.node.start();
    // Its drivers are healthy, and the registry does not take the credentials that they would pull with.
    let refused = site.node.wait_until("a registry that refuses", |status| {
        crate::ground::failure_of(status, Step::Nomad).contains("does not take the credentials")
    });
    assert!(!crate::ground::failure_of(&refused, Step::Nomad).contains("another"));
    site.evaluate("contained");
    assert_eq!(site.allocations("contained"), 0, "nothing lands where it could not be pulled");
    fs::write(&credentials, config(&at, PASSWORD)).expect("written");
    site.node.wait_done();
    wait_for("work in a container", || {
        let rows = site.nomad.call("GET", "/v1/job/contained/allocations", &Value::Null);
        (rows[0]["ClientStatus"] == "running").then_some(())
    });
    assert!(docker.running().iter().any(|name| name.starts_with("sleep-")), "{:?}", docker.running());
    // What runs has its image: a registry that refuses later is an alarm, and nobody is moved.
    let before = site.node.units.done().len();
    fs::write(&credentials, config(&at, "another")).expect("written");
    site.node.verify();
    let alarmed = site.node.wait_until("an alarm", |status| !status.alarms.is_empty());
    assert!(alarmed.alarms[0].contains("does not take the credentials"), "{:?}", alarmed.alarms);
    fs::write(&credentials, config(&at, PASSWORD)).expect("written");
    site.node.verify();
    site.node.wait_until("its end", |status| status.alarms.is_empty());
    assert_eq!(site.node.units.done().len(), before);

    // Nothing that it was given is shown anywhere.
    let read =
        |name: &str| fs::read_to_string(site.node.path().join(name)).expect("a token").trim().to_owned();
    let encoded = STANDARD.encode(format!("node:{PASSWORD}"));
    let secrets = [read("consul-token"), read("nomad-token"), PASSWORD.to_owned(), encoded];
    let management =
        [site.consul.token(), site.nomad.token()].map(|token| token.expect("a token").to_owned());
    let process = ["cmdline", "environ"].map(|what| {
        let bytes = fs::read(format!("/proc/{}/{what}", site.node.pid())).expect("Linux tells");
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let place = site.node.path();
    let told = [site.node.log(), texts(&place.join("run")), texts(&place.join("state"))];
    assert!(
        told[1].contains("muster_bootstrap_ready") && told[2].contains("\"own\""),
        "all of it is looked at"
    );
    for text in told.iter().chain(&process) {
        for secret in secrets.iter().chain(&management) {
            assert!(!text.contains(secret.as_str()), "a secret is shown");
        }
    }
}
