//! A real Docker registry with access control, and one image in it.

use crate::agent::Agent;
use crate::authority::Authority;
use crate::ground::{Ground, port};
use crate::http::request;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// The SHA-256 of `{}`, which is all that the image's configuration is.
const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// A registry by HTTP with one image, `team/app:1`, that the user `node` may pull. Dropped, it ends.
#[derive(Debug)]
pub struct Registry {
    // Before the ground: the server ends first.
    _server: Agent,
    at: SocketAddr,
    ground: Ground,
}

impl Registry {
    /// Starts it, waits until it answers, and pushes the image. Needs Debian's `docker-registry`, `apache2-utils` and
    /// `curl`.
    ///
    /// * `password`: of the user `node`.
    pub fn start(password: &str) -> Self {
        let registry = Self::serve(password, None);
        registry.push(password);
        registry
    }

    /// Starts one by HTTPS without an image, whose certificate an authority signs.
    pub fn start_trusted(password: &str, authority: &Authority) -> Self {
        Self::serve(password, Some(authority))
    }

    fn serve(password: &str, authority: Option<&Authority>) -> Self {
        let ground = Ground::new();
        let at = port();
        let made = Command::new("htpasswd").args(["-nbB", "node", password]).output();
        let made = made.expect("htpasswd is missing: apt-get install apache2-utils");
        std::fs::write(ground.path().join("htpasswd"), &made.stdout).expect("written");
        let root = ground.path().display();
        let tls = authority.map(|authority| authority.issue(&at.ip().to_string(), ground.path()));
        let tls = tls.map_or_else(String::new, |(cert, key)| {
            format!("  tls:\n    certificate: {}\n    key: {}\n", cert.display(), key.display())
        });
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\nhttp:\n  addr: {at}\n{tls}\
             auth:\n  htpasswd:\n    realm: muster\n    path: {root}/htpasswd\n"
        );
        let file = ground.path().join("config.yml");
        std::fs::write(&file, config).expect("written");
        let program = Path::new("/usr/bin/docker-registry");
        assert!(program.is_file(), "docker-registry is missing: apt-get install docker-registry");
        let arguments = vec!["serve".to_owned(), file.display().to_string()];
        let mut server = Agent::start(program.to_owned(), arguments, Vec::new(), ground.path());
        // To who speaks no TLS, one with TLS says so.
        server.wait_for("the registry", || request(at, "GET", "/v2/", &[], "").ok().map(|_| ()));
        Self { _server: server, at, ground }
    }

    /// Where it answers.
    pub const fn at(&self) -> SocketAddr {
        self.at
    }
    /// A directory that ends with it, for a test's own files.
    pub fn directory(&self) -> &Path {
        self.ground.path()
    }

    /// Pushes an image that is no more than its configuration.
    fn push(&self, password: &str) {
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":2,"digest":"{DIGEST}"}},"layers":[]}}"#
        );
        let user = format!("node:{password}");
        let curl = |arguments: &[&str]| {
            let out = Command::new("curl")
                .args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--user", &user])
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
        let url = format!("{}&digest={DIGEST}", location.trim());
        let put = |kind: &str, body: &str, url: &str| {
            let kind = format!("Content-Type: {kind}");
            curl(&["--request", "PUT", "--header", &kind, "--data-binary", body, url]);
        };
        put("application/octet-stream", "{}", &url);
        put(kind, &manifest, &format!("{base}/manifests/1"));
    }
}
