//! The metadata service: its tokens, its endpoints, and what it does wrong.

use crate::standin::{imds, token_of, tokens};
use fleet::{ErrorClass, Timestamp};
use fleet_clock::SteppedClock;
use muster_test_servers::{Asked, Plays, StandIn};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn says(status: u16, body: impl Into<String>) -> Plays {
    Plays::Says(status, Vec::new(), body.into())
}

/// Gives numbered tokens, and takes the last one alone.
fn numbered(answer: impl Fn(&Asked) -> Option<Plays> + Send + Sync + 'static) -> impl Fn(&Asked) -> Plays {
    let given = AtomicUsize::new(0);
    move |asked| {
        if asked.method == "PUT" {
            return says(200, format!("token-{}", given.fetch_add(1, Ordering::SeqCst) + 1));
        }
        let last = format!("token-{}", given.load(Ordering::SeqCst));
        if token_of(asked) != Some(last.as_str()) {
            return says(401, "");
        }
        answer(asked).unwrap_or_else(|| says(200, "i-1"))
    }
}

fn clock() -> SteppedClock {
    SteppedClock::new(Timestamp::from_secs(1_000_000))
}

#[tokio::test]
async fn a_token_is_used_until_it_lapses_or_is_refused_and_fetched_anew_once() {
    let refuses = Arc::new(AtomicUsize::new(0));
    let left = Arc::clone(&refuses);
    let refuse = move |_: &Asked| {
        let mut refused = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        refused.as_mut().ok().map(|_| says(401, ""))
    };
    let service = StandIn::start_at(V4, numbered(refuse));
    let clock = clock();
    let imds = imds(&[service.address()], &clock);
    for _ in 0..3 {
        assert_eq!(imds.need("a").await.expect("it answers").text, "i-1");
    }
    assert_eq!(tokens(&service), 1);
    refuses.store(1, Ordering::SeqCst);
    imds.need("a").await.expect("with another token");
    assert_eq!(tokens(&service), 2);
    refuses.store(2, Ordering::SeqCst);
    let failure = imds.need("a").await.expect_err("not for ever");
    assert_eq!((failure.class, tokens(&service)), (ErrorClass::Denied, 3));
    // Six hours, of which the last tenth is not relied upon.
    imds.need("a").await.expect("it answers");
    let before = tokens(&service);
    clock.advance_to(Duration::from_secs(6 * 3600));
    imds.need("a").await.expect("it answers");
    assert_eq!(tokens(&service), before + 1);
    assert!(service.asked().iter().all(|asked| (asked.method == "PUT") == token_of(asked).is_none()));
}

#[tokio::test]
async fn the_endpoint_that_answers_is_asked_by_ipv6_too() {
    let nobody = std::net::TcpListener::bind((V4, 0)).expect("a port").local_addr().expect("it listened");
    let service = StandIn::start_at(V6, numbered(|_| None));
    let clock = clock();
    let endpoints = [format!("http://{nobody}"), service.address()];
    let imds = imds(&endpoints, &clock);
    assert_eq!(imds.endpoint(), endpoints[0], "nobody has answered yet");
    assert_eq!(imds.need("a").await.expect("it answers").text, "i-1");
    assert_eq!(imds.endpoint(), endpoints[1]);
}

#[tokio::test]
async fn a_document_that_hangs_costs_the_others_no_token_and_a_service_that_does_is_left() {
    let hangs = |asked: &Asked| asked.path.ends_with("hangs").then(Plays::hangs);
    let (first, second) = (StandIn::start_at(V4, numbered(hangs)), StandIn::start_at(V4, numbered(|_| None)));
    let clock = clock();
    let imds = imds(&[first.address(), second.address()], &clock);
    for _ in 0..2 {
        imds.get("a").await.expect("it answers");
        let failure = imds.get("hangs").await.expect_err("it hangs");
        assert_eq!(failure.class, ErrorClass::Transient);
    }
    assert_eq!((tokens(&first), tokens(&second)), (1, 0));
    for _ in 0..3 {
        imds.get("hangs").await.expect_err("it hangs");
    }
    imds.get("a").await.expect("it answers");
    assert_eq!(tokens(&first), 2, "it may be another one's turn");
}

#[tokio::test]
async fn what_the_service_does_wrong_is_told_by_its_name() {
    for (status, class, words) in [
        (403, ErrorClass::Denied, "switched off"),
        (503, ErrorClass::Unclear, "503"),
        (400, ErrorClass::Malformed, "400"),
    ] {
        let service = StandIn::start_at(V4, move |_| says(status, ""));
        let failure = imds(&[service.address()], &clock()).need("a").await.expect_err("it refuses");
        assert_eq!(failure.class, class);
        assert!(failure.what.contains("the metadata service") && failure.what.contains(words), "{failure}");
    }
    let service = StandIn::start_at(V4, numbered(|_| Some(says(404, ""))));
    let clock = clock();
    let imds = imds(&[service.address()], &clock);
    assert!(imds.get("a").await.expect("it answers").is_none());
    assert_eq!(imds.need("a").await.expect_err("it is not there").class, ErrorClass::NotFound);
}
