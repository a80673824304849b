//! The credentials of a registry, tried on a real one with htpasswd, and on one that asks for tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bootstrap_agent::steps::try_manifest;
use bootstrap_config::RegistrySettings;
use bootstrap_core::Failure;
use fleet::ErrorClass;
use muster_test_servers::{port, request, wait_for};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use tempfile::TempDir;

const PASSWORD: &str = "planted-7d1f";

/// A registry with one image, `team/app:1`, that `node` may pull.
struct Registry {
    at: SocketAddr,
    place: TempDir,
    server: Child,
}

impl Registry {
    fn start() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let at = port();
        let made = Command::new("htpasswd").args(["-nbB", "node", PASSWORD]).output();
        let made = made.expect("htpasswd is missing: apt-get install apache2-utils");
        fs::write(place.path().join("htpasswd"), &made.stdout).expect("written");
        let root = place.path().display();
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\nhttp:\n  addr: {at}\n\
             auth:\n  htpasswd:\n    realm: muster\n    path: {root}/htpasswd\n"
        );
        fs::write(place.path().join("config.yml"), config).expect("written");
        let server = Command::new("docker-registry")
            .arg("serve")
            .arg(place.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is missing: apt-get install docker-registry");
        let registry = Self { at, place, server };
        wait_for("the registry", || request(at, "GET", "/v2/", &[], "").ok().map(|_| ()));
        registry.push();
        registry
    }

    /// Pushes an image that is no more than its configuration.
    fn push(&self) {
        let basic = format!("Basic {}", STANDARD.encode(format!("node:{PASSWORD}")));
        let blob = "{}";
        let digest =
            Sha256::digest(blob).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":2,"digest":"sha256:{digest}"}},"layers":[]}}"#
        );
        let curl = |arguments: &[&str]| {
            let out = Command::new("curl")
                .args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--header"])
                .arg(format!("Authorization: {basic}"))
                .args(arguments)
                .output()
                .expect("curl is missing: apt-get install curl");
            assert!(out.status.success(), "{out:?}");
            String::from_utf8_lossy(&out.stdout).into_owned()
        };
        let base = format!("http://{}/v2/team/app", self.at);
        let headers = curl(&["--include", "--request", "POST", &format!("{base}/blobs/uploads/")]);
        let location = headers
            .lines()
            .find_map(|line| line.strip_prefix("Location: ").or_else(|| line.strip_prefix("location: ")))
            .expect("where it is uploaded to");
        let url = format!("{}&digest=sha256:{digest}", location.trim());
        curl(&[
            "--request",
            "PUT",
            "--header",
            "Content-Type: application/octet-stream",
            "--data-binary",
            blob,
            &url,
        ]);
        let kind = format!("Content-Type: {kind}");
        curl(&[
            "--request",
            "PUT",
            "--header",
            &kind,
            "--data-binary",
            &manifest,
            &format!("{base}/manifests/1"),
        ]);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn settings(at: SocketAddr, place: &TempDir, image: &str, password: &str) -> RegistrySettings {
    let auth = STANDARD.encode(format!("node:{password}"));
    let file = place.path().join("config.json");
    fs::write(&file, format!(r#"{{"auths":{{"{at}":{{"auth":"{auth}"}}}}}}"#)).expect("written");
    RegistrySettings {
        image: format!("{at}/{image}"),
        auth_file: file.display().to_string(),
        insecure: true,
        ..RegistrySettings::default()
    }
}

/// A failure, in which no secret is.
fn told(tried: Result<(), Failure>) -> Failure {
    let failure = tried.expect_err("it is refused");
    let auth = STANDARD.encode(format!("node:{PASSWORD}"));
    assert!(!failure.what.contains("planted") && !failure.what.contains(&auth), "{failure}");
    failure
}

#[tokio::test]
async fn a_private_image_is_shown_to_the_right_credentials_and_what_is_wrong_is_told() {
    let registry = Registry::start();
    let of = |image: &str, password: &str| settings(registry.at, &registry.place, image, password);
    try_manifest(&of("team/app:1", PASSWORD)).await.expect("it may be pulled");
    let failure = told(try_manifest(&of("team/app:1", "planted-wrong")).await);
    assert_eq!((failure.class, failure.lasting), (ErrorClass::Denied, false), "{failure}");
    assert!(failure.what.contains("does not take the credentials of"), "{failure}");
    let failure = told(try_manifest(&of("team/app:2", PASSWORD)).await);
    assert_eq!(failure.class, ErrorClass::NotFound);
    assert!(failure.what.contains("has no team/app:2"), "{failure}");
    let right = of("team/app:1", PASSWORD);
    fs::write(&right.auth_file, format!(r#"{{"auths": {PASSWORD}}}"#)).expect("written");
    let failure = told(try_manifest(&right).await);
    assert!(failure.what.contains("config.json:1:") && failure.class == ErrorClass::Malformed, "{failure}");
    fs::remove_file(&right.auth_file).expect("it is there");
    assert_eq!(told(try_manifest(&right).await).class, ErrorClass::NotFound);
}

/// A registry that asks for tokens, and gives them out itself. * `realm`: where it sends for them; `HERE`: to itself.
fn asks_for_tokens(realm: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("it listens");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let auth = head.iter().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
            let right = format!("Basic {}", STANDARD.encode(format!("node:{PASSWORD}")));
            let challenge = format!(
                "Bearer realm=\"{}\",service=\"reg\",scope=\"repository:team/app:pull\"",
                realm.replace("HERE", &format!("http://{at}"))
            );
            let (status, body) =
                if first.starts_with("GET /token?service=reg&scope=repository%3Ateam%2Fapp%3Apull ") {
                    if auth == right { ("200 OK", r#"{"token":"planted-token"}"#) } else { ("401 No", "{}") }
                } else if auth == "Bearer planted-token" {
                    ("200 OK", "{}")
                } else {
                    ("401 No", "{}")
                };
            let length = body.len();
            let _ = write!(
                &stream,
                "HTTP/1.1 {status}\r\nWWW-Authenticate: {challenge}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    at
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_says() {
    let place = tempfile::tempdir().expect("a directory");
    let at = asks_for_tokens("HERE/token");
    try_manifest(&settings(at, &place, "team/app:1", PASSWORD)).await.expect("it may be pulled");
    let failure = told(try_manifest(&settings(at, &place, "team/app:1", "planted-wrong")).await);
    assert_eq!(failure.class, ErrorClass::Denied);
    assert!(failure.what.contains("/token") && failure.what.contains("config.json"), "{failure}");
}

#[tokio::test]
async fn credentials_go_nowhere_that_is_not_to_have_them() {
    let place = tempfile::tempdir().expect("a directory");
    for realm in ["ftp://127.0.0.1/token", "not an address"] {
        let at = asks_for_tokens(realm);
        let failure = told(try_manifest(&settings(at, &place, "team/app:1", PASSWORD)).await);
        assert!(failure.lasting && failure.what.contains("sends for a token"), "{failure}");
    }
}
