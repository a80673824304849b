//! Answers that Nomad, or what stands before it, gives on bad days, byte for byte.

use autoscaler_nomad::facts::DrainDeadline;
use autoscaler_nomad::{Drain, Heard, Nomad, NomadError, Options};
use fleet::{ApiError, ErrorClass, NodeId, Timestamp, WorkKind};
use fleet_clock::{SteppedClock, SystemClock};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that gives each connection the next of these bytes and hangs up; the last, to all that follow. What
/// it was sent comes out at the other end.
fn serve(answers: Vec<Vec<u8>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, sent) = mpsc::channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let mut reader = BufReader::new(&stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                let line = line.to_lowercase();
                if let Some(text) = line.strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap_or(0);
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            let _ = sender.send(head + &String::from_utf8_lossy(&body));
            let _ = (&stream).write_all(answers.get(number).or(answers.last()).map_or(b"", |bytes| bytes));
        }
    });
    (address, sent)
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into()
}

fn options(address: &str) -> Options {
    Options { addresses: vec![address.to_owned()], timeout: Duration::from_secs(10), ..Options::default() }
}

fn nomad(address: &str) -> Nomad {
    Nomad::new(options(address)).expect("good options")
}

fn drain() -> Drain {
    let (deadline, reason) = (DrainDeadline::AtOnce, "test".to_owned());
    Drain { deadline, ignore_system_jobs: true, reason }
}

async fn read(answer: Vec<u8>) -> NomadError {
    nomad(&serve(vec![answer]).0).nodes().await.expect_err("it fails")
}

async fn write(answer: Vec<u8>) -> NomadError {
    let nomad = nomad(&serve(vec![answer]).0);
    nomad.drain(&NodeId::from("n"), &drain()).await.expect_err("it fails")
}

#[tokio::test]
async fn each_status_has_its_class() {
    let throttled = "Your IP is issuing too many concurrent connections, please rate limit your calls";
    let draining = "can not set node's scheduling eligibility to eligible while it is draining";
    let none = ErrorClass::Throttled { retry_after: None };
    let later = ErrorClass::Throttled { retry_after: Some(Duration::from_secs(7)) };
    for (status, headers, body, on_read, on_write) in [
        (401, "", "", ErrorClass::Denied, ErrorClass::Denied),
        (403, "", "Permission denied", ErrorClass::Denied, ErrorClass::Denied),
        (403, "", "ACL token not found", ErrorClass::Denied, ErrorClass::Denied),
        (500, "", "rpc error: Permission denied", ErrorClass::Denied, ErrorClass::Denied),
        (404, "", "node not found", ErrorClass::NotFound, ErrorClass::NotFound),
        (500, "", "node not found", ErrorClass::NotFound, ErrorClass::NotFound),
        (429, "", throttled, none, none),
        (429, "Retry-After: 7\r\n", throttled, later, later),
        (500, "", "No cluster leader", ErrorClass::Transient, ErrorClass::Transient),
        (500, "", "rpc error: No cluster leader", ErrorClass::Transient, ErrorClass::Transient),
        (500, "", draining, ErrorClass::Conflict, ErrorClass::Conflict),
        (400, "", "job scaling blocked due to active deployment", ErrorClass::Conflict, ErrorClass::Conflict),
        (400, "", "Invalid index", ErrorClass::Malformed, ErrorClass::Malformed),
        // A node whose drain is set, but whose evaluations could not be made, answers so, too.
        (500, "", "eval creation failed", ErrorClass::Transient, ErrorClass::Unclear),
        (502, "", "<html>bad gateway</html>", ErrorClass::Transient, ErrorClass::Unclear),
        (302, "Location: http://192.0.2.1/\r\n", "", ErrorClass::Malformed, ErrorClass::Malformed),
    ] {
        let error = read(answer(status, headers, body)).await;
        assert_eq!(error.class(), on_read, "read, {status} {body}");
        let error = write(answer(status, headers, body)).await;
        assert_eq!(error.class(), on_write, "write, {status} {body}");
    }
}

#[tokio::test]
async fn an_error_fits_into_the_engines_events() {
    let error = write(answer(403, "", "Permission denied")).await;
    let error = ApiError::from(&error);
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Denied, Some("403")));
    assert_eq!((&*error.service, &*error.operation), ("nomad", "drain node"));
    assert!(error.message.contains("Permission denied"), "{error}");
}

#[tokio::test]
async fn a_cut_connection_is_unclear_only_for_writes() {
    for cut in
        ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"NodeModi"]
    {
        assert_eq!(read(cut.into()).await.class(), ErrorClass::Transient, "{cut:?}");
        assert_eq!(write(cut.into()).await.class(), ErrorClass::Unclear, "{cut:?}");
    }
}

#[tokio::test]
async fn half_answers_and_other_languages_are_malformed() {
    for body in ["[{\"ID\": \"n\"", "<html>welcome</html>", "{\"ID\": 7}", ""] {
        assert_eq!(read(answer(200, "", body)).await.class(), ErrorClass::Malformed, "{body:?}");
        assert_eq!(write(answer(200, "", body)).await.class(), ErrorClass::Unclear, "{body:?}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(20 * 1024 * 1024, b' ');
    let error = read(endless.clone()).await;
    assert!(matches!(error, NomadError::TooLarge { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Malformed);
    assert_eq!(write(endless).await.class(), ErrorClass::Unclear);
}

#[tokio::test]
async fn nobody_there_is_transient_even_for_writes() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let nomad = nomad(&format!("http://{free}"));
    let error = nomad.drain(&NodeId::from("n"), &drain()).await.expect_err("nobody is there");
    assert_eq!(error.class(), ErrorClass::Transient);
}

#[tokio::test]
async fn silence_is_unclear_for_a_write() {
    // Accepts, by the kernel's grace, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let nomad =
        Nomad::new(Options { timeout: Duration::from_millis(300), ..options(&address) }).expect("good");
    let error = nomad.drain(&NodeId::from("n"), &drain()).await.expect_err("nothing is said");
    assert_eq!(error.class(), ErrorClass::Unclear);
    assert_eq!(nomad.nodes().await.expect_err("nothing is said").class(), ErrorClass::Transient);
}

#[tokio::test]
async fn another_address_is_asked_where_nothing_was_done() {
    let (without_leader, _) = serve(vec![answer(500, "", "No cluster leader")]);
    let (good, sent) = serve(vec![answer(200, "", r#"{"NodeModifyIndex": 0, "Index": 9}"#)]);
    let addresses = vec![without_leader.clone(), good];
    let nomad = Nomad::new(Options { addresses, ..options("") }).expect("good options");
    assert_eq!(nomad.drain(&NodeId::from("n"), &drain()).await.expect("the second takes it"), 9);
    assert!(sent.recv_timeout(PATIENCE).expect("it was asked").starts_with("post /v1/node/n/drain"));

    // A refusal is an answer: nobody else is asked.
    let (refusing, _) = serve(vec![answer(403, "", "Permission denied")]);
    let (unasked, sent) = serve(vec![answer(200, "", r#"{"NodeModifyIndex": 0, "Index": 9}"#)]);
    let addresses = vec![refusing, unasked];
    let nomad = Nomad::new(Options { addresses, ..options("") }).expect("good options");
    assert!(nomad.drain(&NodeId::from("n"), &drain()).await.is_err());
    assert!(sent.try_recv().is_err());
}

#[tokio::test]
async fn who_lost_the_lead_begins_no_write_at_the_next_address() {
    let (without_leader, asked) = serve(vec![answer(500, "", "No cluster leader")]);
    let (good, sent) = serve(vec![answer(200, "", r#"{"NodeModifyIndex": 0, "Index": 9}"#)]);
    let addresses = vec![without_leader, good];
    let nomad = Nomad::new(Options { addresses, ..options("") }).expect("good options");
    // The lease ends while the first address is asked.
    let attempts = AtomicU32::new(0);
    nomad.guard(Arc::new(move || attempts.fetch_add(1, Ordering::Relaxed) == 0));
    let error = nomad.drain(&NodeId::from("n"), &drain()).await.expect_err("we lead no more");
    assert_eq!((error.class(), error.operation()), (ErrorClass::Conflict, "drain node"));
    assert!(asked.recv_timeout(PATIENCE).expect("the first was asked").starts_with("post"));
    assert!(sent.try_recv().is_err(), "the second was not");
    assert!(nomad.nodes().await.is_err(), "looking is free: the answer is none of a list");
    assert!(sent.recv_timeout(PATIENCE).expect("it was asked").starts_with("get"));
}

#[tokio::test]
async fn the_token_is_read_at_every_call_and_never_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    let (address, sent) = serve(vec![answer(200, "", "[]")]);
    let options = Options { token_file: Some(file.clone()), ..options(&address) };
    let nomad = Nomad::new(options).expect("good options");
    let missing = nomad.nodes().await.expect_err("there is no token");
    assert_eq!(missing.class(), ErrorClass::Denied);
    for token in ["first-secret", "second-secret"] {
        std::fs::write(&file, format!("{token}\n")).expect("a token");
        nomad.nodes().await.expect("an answer");
        let head = sent.recv_timeout(PATIENCE).expect("it was asked");
        assert!(head.contains(&format!("x-nomad-token: {token}\r\n")), "{head}");
        assert!(!format!("{nomad:?}").contains("secret"));
    }
    std::fs::write(&file, "bad\u{7}secret").expect("a token");
    let error = nomad.nodes().await.expect_err("no header can carry it");
    assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let page = |token: &str| answer(200, &format!("X-Nomad-NextToken: {token}\r\n"), "[]");
    let (address, sent) = serve(vec![page("abc"), page("")]);
    nomad(&address).nodes().await.expect("two pages");
    assert!(!sent.recv_timeout(PATIENCE).expect("asked").contains("next_token"));
    assert!(sent.recv_timeout(PATIENCE).expect("asked again").contains("next_token=abc"));
}

#[test]
fn addresses_that_cannot_be_asked_are_refused() {
    for address in ["", "nomad:4646", "ftp://nomad", "http://jo:secret@nomad:4646"] {
        let error = Nomad::new(options(address)).expect_err("no good address");
        assert_eq!(error.class(), ErrorClass::Malformed, "{address}");
        assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
    }
    let none = Options { addresses: Vec::new(), ..Options::default() };
    assert_eq!(Nomad::new(none).expect_err("no address").class(), ErrorClass::Malformed);
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let mut options = options("https://127.0.0.1:1");
    options.tls.cert_file = Some(PathBuf::from("/nonexistent/cert.pem"));
    assert!(matches!(Nomad::new(options), Err(NomadError::Tls { .. })));
}

/// A stream's answer: what is written is all that comes.
fn stream(lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{lines}").into()
}

const DRAINED: &str = r#"{"Index":7,"Events":[{"Topic":"Node","Type":"NodeDrain","Key":"n","Index":7,"Payload":{"Node":{"ID":"n","Status":"ready","SchedulingEligibility":"ineligible","DrainStrategy":{"IgnoreSystemJobs":true},"Attributes":{"unique.platform.aws.instance-id":"i-1"}}}}]}"#;

#[tokio::test]
async fn the_stream_is_taken_up_after_what_was_heard_last() {
    let (address, sent) = serve(vec![stream(&format!("{{}}\n{DRAINED}\n")), stream("{}\n")]);
    let mut follower = nomad(&address).follow(Arc::new(SystemClock::new()));
    assert!(matches!(follower.next().await, Heard::Began));
    let Heard::Node(event) = follower.next().await else { panic!("a node's event") };
    assert_eq!((&*event.kind, event.index, event.eligible, event.draining), ("NodeDrain", 7, false, true));
    assert_eq!(event.instance.expect("it has one").as_str(), "i-1");
    // It hangs up: begins again, says so, and asks for what came after.
    assert!(matches!(follower.next().await, Heard::Began));
    let first = sent.recv_timeout(PATIENCE).expect("asked");
    assert!(first.contains("index=0&") || first.contains("index=0 "), "{first}");
    assert!(sent.recv_timeout(PATIENCE).expect("asked again").contains("index=8"));
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_passed_over() {
    let (address, sent) =
        serve(vec![stream(&format!("{DRAINED}\n{{\"Index\":8,\"Events\":[7]}}\n")), stream("{}\n")]);
    let clock = SteppedClock::new(Timestamp::EPOCH);
    let mut follower = nomad(&address).follow(Arc::new(clock.clone()));
    assert!(matches!(follower.next().await, Heard::Began));
    assert!(matches!(follower.next().await, Heard::Node(_)));
    let Heard::Ended(error) = follower.next().await else { panic!("it ends") };
    assert_eq!(error.class(), ErrorClass::Malformed);
    clock.advance_to(Duration::from_secs(60));
    assert!(matches!(follower.next().await, Heard::Began));
    sent.recv_timeout(PATIENCE).expect("asked");
    assert!(sent.recv_timeout(PATIENCE).expect("asked again").contains("index=0"), "from what there is");
}

#[tokio::test]
async fn the_pause_between_tries_grows_and_is_bounded() {
    let (address, _) = serve(vec![answer(500, "", "No cluster leader")]);
    let clock = SteppedClock::new(Timestamp::EPOCH);
    let mut follower = nomad(&address).follow(Arc::new(clock.clone()));
    let mut pauses = Vec::new();
    let mut now = Duration::ZERO;
    for _ in 0..7 {
        let ended = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                heard = follower.next() => heard,
                () = async {
                    loop {
                        if let Some(wake) = clock.next_wake() {
                            pauses.push(wake.as_millis() - now.as_millis());
                            now = wake;
                            clock.advance_to(wake);
                        }
                        tokio::task::yield_now().await;
                    }
                } => unreachable!(),
            }
        });
        assert!(matches!(ended.await.expect("a try"), Heard::Ended(_)));
    }
    assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000]);
}

#[tokio::test]
async fn what_time_it_is_there_is_known_from_the_last_answer() {
    let dated = answer(200, "Date: Sun, 01 Mar 2026 00:00:00 GMT\r\n", "[]");
    let odd = answer(200, "Date: noon\r\n", "[]");
    let nomad = nomad(&serve(vec![dated, odd]).0);
    assert_eq!(nomad.told_time(), None, "nobody was asked");
    for _ in 0..2 {
        nomad.nodes().await.expect("no nodes");
        assert_eq!(nomad.told_time(), Some(Timestamp::from_secs(1_772_323_200)));
    }
}

#[tokio::test]
async fn a_write_is_given_up_before_another_one_can_lead_however_long_a_read_may_take() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let nomad = Nomad::new(Options { timeout: PATIENCE * 10, ..options(&address) }).expect("good");
    // No more than the test's patience is left to one that would wait for the whole of the timeout.
    let tried = tokio::time::timeout(PATIENCE, nomad.drain(&NodeId::from("n"), &drain())).await;
    let error = tried.expect("it is given up").expect_err("nothing is said");
    assert_eq!(error.class(), ErrorClass::Unclear);
}

/// An allocation of the job `shop`, version 0, as a list has it.
fn listed(id: &str, index: u64, kind: &str, group: &str) -> Value {
    json!({
        "ID": id, "NodeID": "n", "Namespace": "default", "JobID": "shop", "JobType": kind, "JobVersion": 0,
        "TaskGroup": group, "DesiredStatus": "run", "ClientStatus": "running", "CreateIndex": index,
        "AllocatedResources": { "Shared": { "DiskMB": 20 }, "Tasks": {} }
    })
}

/// The same with its job, which was registered at an index.
fn whole(listed: &Value, index: u64) -> Vec<u8> {
    let mut alloc = listed.clone();
    let tasks = json!([{ "Name": "main", "KillTimeout": index * 1_000_000_000 }]);
    alloc["Job"] = json!({
        "ID": "shop", "Namespace": "default", "Type": listed["JobType"], "Version": 0, "CreateIndex": index,
        "Datacenters": ["*"], "TaskGroups": [{ "Name": listed["TaskGroup"], "Tasks": tasks }]
    });
    answer(200, "", &alloc.to_string())
}

#[tokio::test]
async fn a_job_that_was_purged_and_registered_again_is_another_one_though_its_version_is_the_same() {
    let all = |allocs: &[&Value]| answer(200, "", &json!(allocs).to_string());
    let nodes = || answer(200, "", r#"[{"ID":"n","Status":"ready","ModifyIndex":1}]"#);
    let old = listed("a", 12, "service", "web");
    let [new, beside, lost] =
        [listed("b", 30, "batch", "api"), listed("c", 28, "batch", "api"), listed("d", 40, "batch", "api")];
    let (address, sent) = serve(vec![
        answer(200, "", "[]"),
        nodes(),
        answer(200, "", r#"{"ID":"n","Status":"ready","ModifyIndex":1}"#),
        all(&[&old]),
        whole(&old, 10),
        // It was purged, and registered again with another group of another type, while one of the old still ends.
        answer(200, "", "[]"),
        nodes(),
        all(&[&old, &new, &beside]),
        whole(&new, 25),
        // Nothing has changed: nothing is asked for again.
        answer(200, "", "[]"),
        nodes(),
        all(&[&new, &old, &beside]),
        // One is new, and forgotten before it is asked for.
        answer(200, "", "[]"),
        nodes(),
        all(&[&new, &lost]),
        answer(404, "", "alloc not found"),
    ]);
    let nomad = nomad(&address);
    let survey = async || {
        let node = nomad.survey().await.expect("a survey").remove(0);
        let show = |alloc: &autoscaler_nomad::facts::AllocFact| {
            let work = &alloc.work;
            (alloc.id.clone(), work.group.clone(), work.kind, work.grace.as_secs(), alloc.devices)
        };
        node.allocs.iter().map(show).collect::<Vec<_>>()
    };
    let fact = |id: &str, group: &str, kind, grace| (id.to_owned(), group.to_owned(), kind, grace, false);
    let web = fact("a", "web", WorkKind::Service, 10);
    let api = |id| fact(id, "api", WorkKind::Batch, 25);
    assert_eq!(survey().await, std::slice::from_ref(&web));
    for look in 1..=2 {
        assert_eq!(survey().await, [web.clone(), api("b"), api("c")], "{look}");
    }
    let unknown = ("d".to_owned(), "api".to_owned(), WorkKind::Batch, 30, true);
    assert_eq!(survey().await, [api("b"), unknown], "nobody knows its job, and it is there");
    assert_eq!(sent.try_iter().filter(|asked| asked.starts_with("get /v1/allocation/")).count(), 3);
}
