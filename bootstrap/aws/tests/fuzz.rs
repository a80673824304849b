//! The reader of EC2's refusals, given anything. What SSM and the metadata service answer is read by the SDK.

use bolero::check;
use bootstrap_aws::refusal_in;

#[test]
fn any_bytes_are_a_refusal_or_none() {
    check!().with_iterations(20_000).for_each(|body: &[u8]| {
        let _ = refusal_in(body);
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
