//! The image's credential helper, as Docker's protocol has it, and with a real Docker and a real registry.

use muster_test_servers::{Docker, Registry};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Where the image's role has the helper, and what Docker's clients are told of it.
const TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../image/ansible/roles/docker/templates");
/// `node:s:ecret`: a secret may have a colon.
const PAIR: &str = "bm9kZTpzOmVjcmV0";
const SECRET: &str = "s:ecret";

/// A template of the role, with these variables and no other.
fn rendered(template: &str, known: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(format!("{TEMPLATES}/{template}")).expect("a template");
    let fill = |text: String, (name, value): &(&str, &str)| text.replace(&format!("{{{{ {name} }}}}"), value);
    let text = known.iter().fold(text, fill);
    assert!(!text.contains("{{"), "{text}");
    text
}

/// The helper, where it is found by its name, with a file of credentials of its own.
struct Helper {
    place: TempDir,
}

impl Helper {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let helper = Self { place };
        let file = helper.credentials().display().to_string();
        let known = [("ansible_managed", "a test"), ("image_registry_credentials", &file)];
        let script = rendered("docker-credential-muster.j2", &known);
        let program = helper.place.path().join("docker-credential-muster");
        fs::write(&program, script).expect("written");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("it may be run");
        helper
    }

    fn credentials(&self) -> PathBuf {
        self.place.path().join("docker.json")
    }

    /// What the agent renders.
    fn has(&self, auths: &Value) {
        fs::write(self.credentials(), json!({"auths": auths}).to_string()).expect("written");
    }

    /// * returns: whether it ended with 0, and what it printed.
    fn says(&self, verb: &str, asked: &str) -> (bool, String) {
        let mut command = Command::new(self.place.path().join("docker-credential-muster"));
        command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("python3 is there");
        child.stdin.take().expect("piped").write_all(asked.as_bytes()).ok();
        let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
        assert!(stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
        (status.success(), String::from_utf8(stdout).expect("text").trim_end().to_owned())
    }

    fn gives(&self, asked: &str) -> Value {
        let (well, said) = self.says("get", asked);
        assert!(well, "{asked}: {said}");
        serde_json::from_str(&said).expect("JSON")
    }
}

/// The words by which Docker knows that there are none, and asks without.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[test]
fn the_helper_gives_the_credentials_of_a_known_registry_and_of_no_other() {
    let helper = Helper::new();
    let none = (false, NOT_FOUND.to_owned());
    assert_eq!(helper.says("get", "registry.test:5000"), none, "before the agent has rendered any");
    helper.has(&json!({
        "registry.test:5000": {"auth": PAIR},
        "https://index.docker.io/v1/": {"auth": PAIR},
        "open.test": {},
    }));
    for asked in ["registry.test:5000", "https://registry.test:5000/v2/", "index.docker.io"] {
        let expected = json!({"ServerURL": asked, "Username": "node", "Secret": SECRET});
        assert_eq!(helper.gives(asked), expected);
    }
    assert_eq!(helper.gives("registry.test:5000\n")["ServerURL"], "registry.test:5000");
    for asked in ["registry.test", "test:5000", "registry.test:50000", "open.test", ""] {
        assert_eq!(helper.says("get", asked), none, "{asked}");
    }
    let (well, listed) = helper.says("list", "");
    assert!(well, "{listed}");
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed, json!({"registry.test:5000": "node", "index.docker.io": "node"}));
    // Nobody logs in or out of what the agent renders.
    for verb in ["store", "erase", ""] {
        let (well, said) = helper.says(verb, "registry.test:5000");
        assert!(!well && said.contains("the agent of this node"), "{verb}: {said}");
    }
}

#[test]
fn the_helper_says_which_file_it_cannot_read_and_nothing_of_what_is_in_it() {
    let helper = Helper::new();
    for text in [
        "s:ecret",
        "[\"s:ecret\"]",
        r#"{"auths": {"registry.test": "s:ecret"}}"#,
        r#"{"auths": {"registry.test": {"auth": "s:ecret!"}}}"#,
    ] {
        fs::write(helper.credentials(), text).expect("written");
        let (well, said) = helper.says("get", "registry.test");
        let file = helper.credentials().display().to_string();
        assert!(!well && said.contains(&file) && !said.contains(SECRET), "{text}: {said}");
    }
}

/// Docker, with the helper for this registry alone, and a configuration that holds no credentials.
fn docker(docker: &Docker, helper: &Path, config: &Path, words: &[&str]) -> (bool, String) {
    let mut command = Command::new("docker");
    command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", helper.display())).stdin(Stdio::null());
    command.arg("--config").arg(config).arg("-H").arg(format!("unix://{}", docker.socket().display()));
    let output = command.args(words).output().expect("docker.io is there");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn docker_pulls_from_a_registry_with_access_control_by_the_helper() {
    let registry = Registry::start(SECRET);
    let daemon = Docker::start();
    let helper = Helper::new();
    let config = tempfile::tempdir().expect("a directory");
    let at = registry.at().to_string();
    let helped = rendered("client.json.j2", &[("image_registry", &at)]);
    fs::write(config.path().join("config.json"), helped).expect("written");
    let name = format!("{at}/team/file:1");
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("file"), "in an image").expect("written");
    daemon.import(root.path(), &name, &[]);
    let ask = |words: &[&str]| docker(&daemon, helper.place.path(), config.path(), words);

    let (well, said) = ask(&["push", "--quiet", &name]);
    assert!(!well && said.contains("no basic auth credentials"), "{said}");
    helper.has(&json!({(&at): {"auth": PAIR}}));
    let (well, said) = ask(&["push", "--quiet", &name]);
    assert!(well, "{said}");
    daemon.remove(&name);
    assert!(!daemon.pulls(&name), "without the helper");
    let (well, said) = ask(&["pull", "--quiet", &name]);
    assert!(well, "{said}");
    // Another's secret, rendered anew: it is asked for each time.
    daemon.remove(&name);
    helper.has(&json!({(&at): {"auth": "bm9kZTpvdGhlcg=="}}));
    let (well, said) = ask(&["pull", "--quiet", &name]);
    assert!(!well, "{said}");
}
