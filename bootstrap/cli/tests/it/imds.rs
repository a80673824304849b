//! A metadata service that says what a test wants of some documents, and what the cloud's own says of all others.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

type Documents = Arc<Mutex<BTreeMap<String, Option<String>>>>;

pub struct Imds {
    at: SocketAddr,
    says: Documents,
}

impl Imds {
    /// In front of the cloud's.
    pub fn before(cloud: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = listener.local_addr().expect("it listens");
        let says = Documents::default();
        let shared = Arc::clone(&says);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // Who hangs up in the middle gets no answer, and that is all.
                thread::spawn(move || serve(&stream, cloud, &shared));
            }
        });
        Self { at, says }
    }
    pub const fn at(&self) -> SocketAddr {
        self.at
    }
    /// Says so of a document, whose path ends like this, from now on; `None`: there is none.
    pub fn say(&self, path: &str, text: Option<&str>) {
        self.says.lock().expect("whole").insert(path.to_owned(), text.map(str::to_owned));
    }
}

/// Answers one question, or has it answered.
fn serve(mut near: &TcpStream, cloud: SocketAddr, says: &Documents) -> io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(near);
    while reader.read_line(&mut head)? > 2 {}
    let path = head.split(' ').nth(1).unwrap_or_default();
    let known =
        says.lock().expect("whole").iter().find(|(of, _)| path.ends_with(*of)).map(|(_, text)| text.clone());
    if let Some(text) = known {
        let (status, text) = text.map_or(("404 Not Found", String::new()), |text| ("200 OK", text));
        let length = text.len();
        return write!(
            near,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
        );
    }
    let mut far = TcpStream::connect(cloud)?;
    let (first, rest) = head.split_once("\r\n").unwrap_or_default();
    write!(far, "{first}\r\nConnection: close\r\n{rest}")?;
    io::copy(&mut far, &mut near).map(|_| ())
}
