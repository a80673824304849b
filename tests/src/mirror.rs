//! A site's mirror of the vendors' releases.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use crate::ground::get;
use crate::machine::succeed;
use muster_test_servers::{Ground, wait_for};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The mirror, which has one version of each of some programs. Gone when dropped.
#[derive(Debug)]
pub struct Mirror {
    process: Child,
    address: SocketAddr,
    /// Whatever runs in it ends with it, however the test ends.
    place: Ground,
}

impl Mirror {
    /// * `programs`: each with its version. * `at`: an address of this host.
    #[must_use]
    pub fn of(programs: &[(&Path, &str)], at: IpAddr) -> Self {
        let place = Ground::new();
        for (program, version) in programs {
            let archive = archive(place.path(), &name_of(program), version);
            fs::create_dir_all(archive.parent().expect("it is in a directory")).expect("made");
            let mut zip = Command::new("python3");
            succeed(zip.args(["-m", "zipfile", "-c"]).arg(&archive).arg(program));
        }
        let address = SocketAddr::from((at, muster_test_servers::port().port()));
        let process = Command::new("python3")
            .args(["-m", "http.server", "--bind", &at.to_string(), &address.port().to_string()])
            .current_dir(place.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mirror = Self { process, address, place };
        wait_for("the mirror", || get(address, "/"));
        mirror
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the archive of a program has to have.
    #[must_use]
    pub fn sha256(&self, name: &str, version: &str) -> String {
        let said = succeed(Command::new("sha256sum").arg(archive(self.place.path(), name, version)));
        said.split(' ').next().expect("a sum").to_owned()
    }
}

fn name_of(program: &Path) -> String {
    program.file_name().expect("a name").to_string_lossy().into_owned()
}

fn archive(place: &Path, name: &str, version: &str) -> PathBuf {
    place.join(name).join(version).join(format!("{name}_{version}_linux_amd64.zip"))
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // Nothing is left to do where it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
