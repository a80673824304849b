//! A metadata service for one instance: what Nomad's AWS fingerprint asks for, and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Serves the metadata of one instance until the process ends: for Nomad, which finds no service beneath a path.
///
/// * returns: where: `http://…`.
#[must_use]
pub fn metadata(instance: &str) -> String {
    let at = crate::port();
    serve(at, instance);
    format!("http://{at}")
}

/// Serves the metadata of one instance at an address until the process ends.
pub(crate) fn serve(at: SocketAddr, instance: &str) {
    let listener = TcpListener::bind(at).unwrap_or_else(|error| panic!("{at}: {error}"));
    let instance = instance.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let instance = instance.clone();
            // Who hangs up in the middle gets no answer, and that is all.
            thread::spawn(move || answer(&stream, &instance));
        }
    });
}

fn answer(mut stream: &TcpStream, instance: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let body = body(path.trim_start_matches("/latest/"), instance);
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let length = body.len();
    let ttl = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600";
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{ttl}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn body<'a>(path: &str, instance: &'a str) -> Option<&'a str> {
    Some(match path {
        "api/token" => "token",
        "meta-data/instance-id" => instance,
        "meta-data/ami-id" => "ami-0abcdef1234567890",
        "meta-data/hostname" | "meta-data/local-hostname" => "ip-10-0-0-5.ec2.internal",
        "meta-data/instance-life-cycle" => "spot",
        "meta-data/instance-type" => "m5.large",
        "meta-data/local-ipv4" => "10.0.0.5",
        "meta-data/mac" => "02:00:00:00:00:01",
        "meta-data/placement/availability-zone" => "us-east-1a",
        _ => return None,
    })
}
