//! The way of machines to Debian's archive: a proxy on this host, for apt. Their network has no other.

use ::tests::machine::succeed;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The longest head of a request.
const MOST_HEAD: usize = 16 * 1024;
/// To whoever asks for somebody who is not there.
const UNREACHABLE: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// To whoever asked for a way, which is there now.
const OPEN: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
/// To whoever takes this for a server.
const REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The proxy. Dropped, it ends with all that goes through it.
pub struct Proxy {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Proxy {
    /// Listens.
    ///
    /// * `at`: where. * `through`: `HOST:PORT` of another proxy that is asked for everything; `None`: each server itself is.
    pub fn start(at: SocketAddr, through: Option<String>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(at))?;
        let address = listener.local_addr()?;
        runtime.spawn(async move {
            loop {
                // One that is gone already is no matter.
                let Ok((from, _)) = listener.accept().await else { continue };
                let through = through.clone();
                // Whoever ends it, the other learns by the end of the stream.
                tokio::spawn(async move { pass_on(from, through.as_deref()).await });
            }
        });
        Ok(Self { address, _runtime: runtime })
    }

    /// What has apt on a machine ask it: path, mode, text.
    pub fn setting(&self) -> (String, u32, String) {
        let text = format!("Acquire::http::Proxy \"http://{}\";\n", self.address);
        ("/etc/apt/apt.conf.d/00way-out".to_owned(), 0o644, text)
    }
}

/// The proxy that apt on this host asks itself, as `HOST:PORT`.
pub fn of_this_host() -> Option<String> {
    let said = succeed(Command::new("apt-config").args(["shell", "proxy", "Acquire::http::Proxy"]));
    let url = said.trim().strip_prefix("proxy='http://")?.strip_suffix('\'')?;
    Some(url.trim_end_matches('/').to_owned())
}

/// Brings a connection to whom its first request names. apt has one for each host that it asks: all that follows is for the same.
async fn pass_on(mut from: TcpStream, through: Option<&str>) -> io::Result<()> {
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        if head.len() > MOST_HEAD || from.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let Some((asked, tunnel)) = asked(&head) else { return from.write_all(REFUSED).await };
    let Ok(mut to) = TcpStream::connect(through.unwrap_or(&asked)).await else {
        return from.write_all(UNREACHABLE).await;
    };
    if tunnel && through.is_none() {
        from.write_all(OPEN).await?;
        to.write_all(&head[end..]).await?;
    } else {
        // As it is: a server takes a request with its own name in it, too.
        to.write_all(&head).await?;
    }
    copy_bidirectional(&mut from, &mut to).await.map(drop)
}

/// Whom a request is for, as `HOST:PORT`, and whether it asks for a way there alone, as for TLS. `None`: it is none for a proxy.
fn asked(head: &[u8]) -> Option<(String, bool)> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    let mut words = line.split(' ');
    match (words.next()?, words.next()?) {
        ("CONNECT", at) => Some((at.to_owned(), true)),
        ("GET" | "HEAD", url) => {
            let host = url.strip_prefix("http://")?.split('/').next()?;
            let port = if host.contains(':') { "" } else { ":80" };
            Some((format!("{host}{port}"), false))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpStream};
    use std::thread::JoinHandle;

    /// A server that answers one request with `archive`. * returns: where, and what it was asked.
    fn archive() -> (SocketAddr, JoinHandle<String>) {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody");
            let mut head = [0; 256];
            let count = stream.read(&mut head).expect("a request");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\narchive").expect("it listens");
            String::from_utf8_lossy(&head[..count]).into_owned()
        });
        (address, asked)
    }

    fn proxy(through: Option<String>) -> Proxy {
        Proxy::start((Ipv4Addr::LOCALHOST, 0).into(), through).expect("it starts")
    }

    /// What comes back, to the end.
    fn answered(proxy: &Proxy, request: &str) -> String {
        let mut stream = TcpStream::connect(proxy.address).expect("it listens");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text
    }

    #[test]
    fn a_request_comes_to_whom_it_names_and_the_answer_back() {
        let (address, asked) = archive();
        let request = format!("GET http://{address}/debian HTTP/1.1\r\nHost: {address}\r\n\r\n");
        assert!(answered(&proxy(None), &request).ends_with("archive"));
        assert_eq!(asked.join().expect("it was asked"), request);
    }

    #[test]
    fn through_another_proxy_everything_comes_to_that() {
        let (address, asked) = archive();
        let proxy = proxy(Some(address.to_string()));
        let request = "CONNECT nowhere.invalid:443 HTTP/1.1\r\n\r\n";
        assert!(answered(&proxy, request).ends_with("archive"));
        assert_eq!(asked.join().expect("it was asked"), request);
    }

    #[test]
    fn a_way_is_opened_and_what_is_said_on_it_is_whose_way_it_is() {
        let (address, asked) = archive();
        let said = answered(&proxy(None), &format!("CONNECT {address} HTTP/1.1\r\n\r\nhello"));
        assert!(
            said.starts_with("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK") && said.ends_with("archive"),
            "{said}"
        );
        assert_eq!(asked.join().expect("it was asked"), "hello");
    }

    #[test]
    fn who_cannot_be_reached_and_what_is_no_request_for_a_proxy_are_told() {
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let nobody = taken.local_addr().expect("an address");
        drop(taken);
        let proxy = proxy(None);
        let asked = |request: &str| answered(&proxy, request);
        assert!(asked(&format!("GET http://{nobody}/ HTTP/1.1\r\n\r\n")).contains(" 502 "));
        for request in ["GET / HTTP/1.1\r\n\r\n", "POST http://archive/ HTTP/1.1\r\n\r\n", "hello\r\n\r\n"] {
            assert!(asked(request).contains(" 400 "), "{request}");
        }
    }

    #[test]
    fn a_host_is_asked_at_the_port_that_it_is_named_with() {
        let of = |line: &str| asked(format!("{line}\r\n\r\n").as_bytes());
        let get = |host: &str| of(&format!("GET http://{host}/debian/dists/x HTTP/1.1"));
        assert_eq!(get("deb.debian.org"), Some(("deb.debian.org:80".to_owned(), false)));
        assert_eq!(get("mirror:3142"), Some(("mirror:3142".to_owned(), false)));
        assert_eq!(of("CONNECT mirror:443 HTTP/1.1"), Some(("mirror:443".to_owned(), true)));
    }
}
