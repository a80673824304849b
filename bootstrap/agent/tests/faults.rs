//! What a server can do wrong, as every service's step sees it.

use bootstrap_agent::http::{BEARER, Http, Reply};
use bootstrap_config::Server;
use bootstrap_core::Failure;
use fleet::ErrorClass;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const TOKEN: &str = "planted-3c9e";

#[derive(Clone, Copy, Debug)]
enum Fault {
    Refused,
    Hangs,
    Says(&'static str),
    Garbage,
    Trickle,
    TooLarge,
    Cut,
    /// What it was asked, all of it in one line, with this status.
    Echoes(&'static str),
}

/// Does it to one who asks, until they hang up.
fn serve(fault: Fault, mut stream: &TcpStream) -> std::io::Result<()> {
    let mut asked = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        asked.push(line);
    }
    match fault {
        Fault::Refused => Ok(()),
        Fault::Hangs => std::io::copy(&mut stream, &mut std::io::sink()).map(|_| ()),
        Fault::Says(head) => write!(stream, "HTTP/1.1 {head}\r\nContent-Length: 3\r\n\r\nno\n"),
        Fault::Echoes(head) => {
            // JSON of another kind than was asked for: its reader shows what it is.
            let shown = serde_json::json!(asked.join(" ")).to_string();
            let length = shown.len();
            write!(
                stream,
                "HTTP/1.1 {head}\r\nLocation: /{TOKEN}\r\nWWW-Authenticate: X {TOKEN}\r\n\
                 Content-Length: {length}\r\n\r\n{shown}"
            )
        }
        Fault::Garbage => stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n"),
        Fault::Cut => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        Fault::TooLarge => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 8192])?;
            }
        }
        Fault::Trickle => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
            loop {
                stream.write_all(b" ")?;
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// What one question comes to.
async fn failure(fault: Fault) -> Failure {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("it listens");
    if matches!(fault, Fault::Refused) {
        drop(listener);
    } else {
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who hangs up has had enough.
                let _ = serve(fault, &stream);
            }
        });
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), TOKEN).expect("written");
    let server = Server {
        address: format!("http://{at}"),
        token_file: Some(file.path().display().to_string()),
        ..Server::default()
    };
    let http = Http::new("Nomad", &server, Some(BEARER)).expect("a client");
    let asked = http.get("/v1/agent/self", Duration::from_secs(1));
    let reply = tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it hangs for no one");
    match reply {
        Err(error) => error.into(),
        Ok(reply) => {
            assert!(!format!("{reply:?}{:?}{:?}", reply.location, reply.challenge).contains("planted"));
            told(&reply)
        }
    }
}

fn told(reply: &Reply) -> Failure {
    if reply.is_success() {
        reply.json::<Vec<u8>>("Nomad").expect_err("it is no JSON")
    } else {
        reply.failure("Nomad", "say who its agent is")
    }
}

#[tokio::test]
async fn whatever_a_server_does_is_told_with_its_name_within_a_bound_and_without_the_token() {
    let throttled = |seconds| ErrorClass::Throttled { retry_after: Some(Duration::from_secs(seconds)) };
    for (fault, class, words) in [
        (Fault::Refused, ErrorClass::Transient, "cannot be reached"),
        (Fault::Hangs, ErrorClass::Unclear, "timed out"),
        (Fault::Trickle, ErrorClass::Unclear, "timed out"),
        (Fault::Cut, ErrorClass::Unclear, "no whole answer"),
        (Fault::Garbage, ErrorClass::Unclear, "no whole answer"),
        (Fault::TooLarge, ErrorClass::Unclear, "it is larger than"),
        (Fault::Says("200 OK"), ErrorClass::Malformed, "no such JSON"),
        (Fault::Echoes("200 OK"), ErrorClass::Malformed, "(secret)"),
        (Fault::Echoes("400 No"), ErrorClass::Malformed, "(secret)"),
        (Fault::Says("403 No"), ErrorClass::Denied, "would not say who its agent is: 403 no"),
        (Fault::Says("404 No"), ErrorClass::NotFound, "404"),
        (Fault::Says("429 No\r\nRetry-After: 7"), throttled(7), "429"),
        (Fault::Says("429 No\r\nRetry-After: soon"), ErrorClass::Throttled { retry_after: None }, "429"),
        (Fault::Says("500 No"), ErrorClass::Unclear, "500"),
        (Fault::Says("503 No"), ErrorClass::Unclear, "503"),
        (Fault::Says("302 No\r\nLocation: http://127.0.0.1:1/"), ErrorClass::Malformed, "302"),
    ] {
        let failure = failure(fault).await;
        assert_eq!((failure.class, failure.lasting), (class, false), "{fault:?}: {failure}");
        assert!(failure.what.contains("Nomad") && failure.what.contains(words), "{fault:?}: {failure}");
        assert!(!format!("{failure:?}").contains("planted"), "{failure}");
    }
}
