//! A real tinyproxy: the way out of a network that has no other.

use crate::agent::Agent;
use crate::ground::{Ground, port};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

/// A running proxy for HTTP. Dropped, it ends with all that goes through it.
#[derive(Debug)]
pub struct Tinyproxy {
    // Before the ground: it ends first.
    _proxy: Agent,
    at: SocketAddr,
    _ground: Ground,
}

impl Tinyproxy {
    /// Starts one, and waits until it listens. Needs Debian's `tinyproxy-bin`.
    ///
    /// * `through`: `HOST:PORT` of another proxy that is asked for everything; `None`: each server itself is.
    pub fn start(through: Option<&str>) -> Self {
        let (ground, at) = (Ground::new(), port());
        let through = through.map_or_else(String::new, |other| format!("Upstream http {other}\n"));
        let text = format!(
            "Listen {}\nPort {}\nTimeout 600\nLogLevel Warning\nDisableViaHeader Yes\n{through}",
            at.ip(),
            at.port()
        );
        let file = ground.path().join("tinyproxy.conf");
        std::fs::write(&file, text).expect("a configuration");
        let program = Path::new("/usr/bin/tinyproxy");
        assert!(program.is_file(), "tinyproxy is missing: apt-get install tinyproxy-bin");
        let arguments = vec!["-d".to_owned(), "-c".to_owned(), file.display().to_string()];
        let mut proxy = Agent::start(program.to_owned(), arguments, Vec::new(), ground.path());
        proxy.wait_for("tinyproxy", || TcpStream::connect(at).ok());
        Self { _proxy: proxy, at, _ground: ground }
    }

    /// Where it listens.
    pub const fn at(&self) -> SocketAddr {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plays, StandIn, request};

    #[test]
    fn a_request_comes_to_whom_it_names_and_through_another_proxy_to_that() {
        let archive = StandIn::start(|_| Plays::text("archive"));
        let asks = |through: Option<&str>, url: &str| {
            request(Tinyproxy::start(through).at(), "GET", url, &[], "").expect("an answer").body
        };
        assert_eq!(asks(None, &format!("{}/debian", archive.address())), "archive");
        assert_eq!(asks(Some(&archive.at().to_string()), "http://nowhere.invalid/debian"), "archive");
        let asked: Vec<String> = archive.asked().iter().map(crate::Asked::line).collect();
        assert_eq!(asked[0], "GET /debian");
        assert!(asked[1].contains("http://nowhere.invalid"), "the other is asked for all: {asked:?}");
    }
}
