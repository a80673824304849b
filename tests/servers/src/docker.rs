//! A real Docker daemon of a test's own: no network of its own, images from a directory, nothing fetched.

use crate::agent::Agent;
use crate::ground::Ground;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A running daemon. Dropped, its containers end, and then it does.
#[derive(Debug)]
pub struct Docker {
    // Before the ground: the daemon ends first.
    daemon: Agent,
    ground: Ground,
}

impl Docker {
    /// Starts a daemon, and waits until it answers. Needs root, and Debian's `docker.io`.
    ///
    /// Its containers may use the host's network or none: it makes no bridge and touches no firewall.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more arguments, such as `--insecure-registry=ADDRESS`.
    pub fn start_with(more: &[&str]) -> Self {
        let ground = Ground::new();
        let place = |name: &str| ground.path().join(name).display().to_string();
        let arguments = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
        for (option, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            arguments.extend([option.to_owned(), place(name)]);
        }
        arguments.extend(["-H".to_owned(), format!("unix://{}", place("socket"))]);
        arguments.extend(more.iter().map(|one| (*one).to_owned()));
        let program = Path::new("/usr/sbin/dockerd");
        assert!(program.is_file(), "dockerd is missing: apt-get install docker.io");
        let daemon = Agent::start(program.to_owned(), arguments, Vec::new(), ground.path());
        let mut docker = Self { daemon, ground };
        let socket = docker.socket();
        docker.daemon.wait_for("the Docker daemon", || {
            let asked = docker_of(&socket).arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success()).then_some(())
        });
        docker
    }

    /// Where it is asked.
    pub fn socket(&self) -> PathBuf {
        self.ground.path().join("socket")
    }

    /// Makes an image of what is in a directory.
    ///
    /// * `name`: with a tag, and not `latest`, which would be fetched anew.
    /// * `changes`: as in a Dockerfile: `ENTRYPOINT ["/program"]`.
    pub fn import(&self, root: &Path, name: &str, changes: &[&str]) {
        let archive = self.ground.path().join("image.tar");
        let mut tar = Command::new("tar");
        success(tar.arg("-C").arg(root).arg("-cf").arg(&archive).arg("."));
        let mut import = docker_of(&self.socket());
        import.arg("import");
        for change in changes {
            import.args(["--change", change]);
        }
        success(import.arg(&archive).arg(name));
        std::fs::remove_file(archive).expect("it was made");
    }

    /// Pushes an image to its registry, with the credentials of a `config.json` in a directory.
    pub fn push(&self, name: &str, credentials: &Path) {
        success(docker_of(&self.socket()).env("DOCKER_CONFIG", credentials).args(["push", name]));
    }
    /// Forgets an image: it has to be pulled.
    pub fn remove(&self, name: &str) {
        success(docker_of(&self.socket()).args(["rmi", "--force", name]));
    }
    /// Whether an image can be pulled without credentials.
    pub fn pulls(&self, name: &str) -> bool {
        let pulled = docker_of(&self.socket())
            .args(["pull", name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        pulled.is_ok_and(|status| status.success())
    }

    /// The names of the containers that run.
    pub fn running(&self) -> Vec<String> {
        let output = success(docker_of(&self.socket()).args(["ps", "--format", "{{.Names}}"]));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Docker {
    #[expect(clippy::print_stderr, reason = "a failed test shows what was said in containers")]
    fn drop(&mut self) {
        let all = docker_of(&self.socket()).args(["ps", "--all", "--quiet"]).output();
        let all = all.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for container in all.split_whitespace() {
            if std::thread::panicking()
                && let Ok(Output { stdout, stderr, .. }) =
                    docker_of(&self.socket()).args(["logs", container]).output()
            {
                let [out, err] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
                eprintln!("container {container} said:\n{out}{err}");
            }
            // Before the daemon: alone it would leave them.
            let _ = docker_of(&self.socket()).args(["rm", "--force", container]).output();
        }
    }
}

fn docker_of(socket: &Path) -> Command {
    let mut command = Command::new("docker");
    command.arg("-H").arg(format!("unix://{}", socket.display()));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

fn success(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
