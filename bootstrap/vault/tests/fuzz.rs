//! Readers of outside bytes, given anything. Run for a bounded count here; `cargo bolero test NAME` goes on.

use bolero::check;
use bootstrap_core::Now;
use bootstrap_vault::readers;
use fleet::Timestamp;
use std::time::Duration;

/// Inputs of each target in a normal run.
const COUNT: usize = 20_000;

#[test]
fn any_bytes_are_an_answer_or_none() {
    check!().with_iterations(COUNT).for_each(|body: &[u8]| readers::answer(body));
}

#[test]
fn any_text_around_an_answer_is_an_answer_or_none() {
    check!().with_iterations(COUNT).with_type::<(Vec<u8>, usize)>().for_each(|(more, at)| {
        let mut body =
            br#"{"lease_id":"a","data":{"data":{"k":"v"},"metadata":{"version":1}},"errors":["x"]}"#.to_vec();
        let at = at % body.len();
        body.splice(at..at, more.iter().copied());
        readers::answer(&body);
    });
}

#[test]
fn any_text_around_a_state_is_a_state_or_none() {
    let now = Now { wall: Timestamp::from_secs(1_767_225_600), monotonic: Duration::ZERO };
    check!().with_iterations(COUNT).with_type::<(Vec<u8>, usize)>().for_each(|(more, at)| {
        let mut state = br#"{"of":"x","token":"t","until":1767225600000,"given_seconds":60,"renewable":true,"secrets":
            [{"request":[true,"pki/issue/a",{"ttl":"1h"}],"fields":{"a":"b"},
            "term":{"Certificate":{"until":9007199254740993,"whole_seconds":18446744073709551615,"leased":false}}}]}"#
            .to_vec();
        let at = at % state.len();
        state.splice(at..at, more.iter().copied());
        readers::state(&state, now);
    });
}

#[test]
fn any_text_is_a_certificate_or_none() {
    let now = Now { wall: Timestamp::from_secs(1_767_225_600), monotonic: Duration::ZERO };
    check!().with_iterations(COUNT).with_type::<(String, Vec<u8>)>().for_each(|(text, der)| {
        use base64::Engine as _;
        readers::certificate(text, now);
        let der = base64::engine::general_purpose::STANDARD.encode(der);
        readers::certificate(
            &format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n"),
            now,
        );
    });
}
