//! Readers of what EC2 and SSM answer, given anything. STS is asked by Vault, on a signature of ours: nobody here reads
//! what it says.

use bolero::check;
use bootstrap_aws::{Aws, AwsOptions, Credentials, Endpoints, is_tagged, refusal_in};
use bootstrap_core::Secret;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

#[test]
fn any_bytes_are_a_refusal_or_none() {
    check!().with_iterations(20_000).for_each(|body: &[u8]| {
        let _ = refusal_in(body);
        assert!(!is_tagged(body), "nobody hits upon a whole answer by chance");
    });
}

#[test]
fn a_refusal_with_anything_in_it_is_bounded() {
    check!().with_iterations(20_000).with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(code, message)| {
        let body =
            [b"<Error><Code>", &code[..], b"</Code><Message>", message, b"</Message></Error>"].concat();
        let (code, message) = refusal_in(&body);
        assert!(code.is_none_or(|text| text.len() <= 512) && message.is_none_or(|text| text.len() <= 512));
    });
}

/// Answers every request with what is there then, as JSON of SSM's.
fn serve(answer: Arc<Mutex<(u16, Vec<u8>)>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("it listens");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (status, body) = answer.lock().expect("whole").clone();
            // Who hangs up has had enough.
            let _ = reply(stream, status, &body);
        }
    });
    at
}

fn reply(mut stream: TcpStream, status: u16, body: &[u8]) -> std::io::Result<()> {
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    // SSM's questions end with their only object.
    while !read.ends_with(b"}") {
        let more = stream.read(&mut piece)?;
        if more == 0 {
            return Ok(());
        }
        read.extend_from_slice(&piece[..more]);
    }
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)
}

#[test]
fn any_bytes_are_parameters_or_an_error_without_them() {
    let answer = Arc::new(Mutex::new((200, Vec::new())));
    let at = serve(Arc::clone(&answer));
    let credentials = Credentials::Static {
        access_key_id: "AKID".to_owned(),
        secret_access_key: Secret::new("planted-key"),
        session_token: None,
    };
    let endpoints = Endpoints { ssm: Some(format!("http://{at}")), ..Endpoints::default() };
    let aws =
        Aws::new(AwsOptions { credentials, endpoints, ..AwsOptions::new("eu-west-1") }).expect("options");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ask = std::panic::AssertUnwindSafe((aws, runtime, answer));
    let kind =
        br#"{"Parameters":[{"Name":"/a/b","Type":"SecureString","Value":"planted-value","Version":1}]}"#;
    check!().with_iterations(300).with_type::<(Vec<u8>, usize, bool)>().for_each(|(more, at, whole)| {
        let (aws, runtime, answer) = &*ask;
        let mut body = if *whole { more.clone() } else { kind.to_vec() };
        if !whole {
            let at = at % (body.len() + 1);
            body.splice(at..at, more.iter().copied());
        }
        for status in [200, 400, 500] {
            *answer.lock().expect("whole") = (status, body.clone());
            if let Err(error) = runtime.block_on(aws.parameters("/a")) {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("planted-key") && error.to_string().len() < 2_000, "{shown}");
            }
        }
    });
}
