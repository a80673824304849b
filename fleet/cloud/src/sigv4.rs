//! Signature Version 4: who signed a request, and whether they did.
//!
//! The rules: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use crate::request::Request;
use fleet::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::time::Duration;
use subtle::ConstantTimeEq;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far a signature's time may lie from the host's, either way.
pub(crate) const MAX_SKEW: Duration = Duration::from_secs(300);
/// What is not encoded in a canonical URI: letters, digits and these.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// What the `Authorization` header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub access_key: String,
    /// `YYYYMMDD`.
    pub date: String,
    pub region: String,
    pub service: String,
    /// In lower case, in the header's order.
    signed_headers: Vec<String>,
    signature: String,
}

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// There is no `Authorization` header.
    #[error("the request is not signed")]
    Missing,
    /// The header is not of the form that Signature Version 4 has.
    #[error("the Authorization header {0}")]
    Malformed(&'static str),
    /// The time of the signature is not the host's.
    #[error("signed at {signed}, but it is {now}")]
    Skewed { signed: String, now: Timestamp },
    /// The signature is not the one that the secret gives.
    #[error("the signature is not the one that was calculated")]
    Mismatch,
}

impl Authorization {
    /// Reads the header; checks its form alone.
    pub fn of(request: &Request) -> Result<Self, SignatureError> {
        let header = request.header("authorization").ok_or(SignatureError::Missing)?;
        let malformed = SignatureError::Malformed;
        let fields =
            header.strip_prefix(ALGORITHM).ok_or(malformed("must begin with AWS4-HMAC-SHA256"))?.split(',');
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields {
            match field.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("SignedHeaders", value)) => signed_headers = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                _ => {
                    return Err(malformed(
                        "holds something else than Credential, SignedHeaders and Signature",
                    ));
                }
            }
        }
        let credential = credential.ok_or(malformed("requires 'Credential' parameter."))?;
        let signed_headers = signed_headers.ok_or(malformed("requires 'SignedHeaders' parameter."))?;
        let signature = signature.ok_or(malformed("requires 'Signature' parameter."))?;
        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key, date, region, service, "aws4_request"] = scope[..] else {
            return Err(malformed("must have a credential of KEY/DATE/REGION/SERVICE/aws4_request"));
        };
        Ok(Self {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
            signature: signature.to_owned(),
        })
    }

    /// Checks that `secret` signed this request, not long ago.
    ///
    /// * `now`: the host's wall time. The world's may run faster; signatures never do.
    pub fn verify(&self, request: &Request, secret: &str, now: Timestamp) -> Result<(), SignatureError> {
        let time =
            request.header("x-amz-date").ok_or(SignatureError::Malformed("needs an X-Amz-Date header"))?;
        if !time.starts_with(&self.date) {
            return Err(SignatureError::Malformed("must be scoped to the date of X-Amz-Date"));
        }
        let signed = parse_time(time)
            .ok_or(SignatureError::Malformed("needs an X-Amz-Date such as 20260301T100000Z"))?;
        if now.since(signed).max(signed.since(now)) > MAX_SKEW {
            return Err(SignatureError::Skewed { signed: time.to_owned(), now });
        }
        if !self.covers("host") || !self.covers("x-amz-date") {
            return Err(SignatureError::Malformed("must sign 'Host' and 'X-Amz-Date'"));
        }
        if request
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("x-amz-") && !self.covers(name.as_str()))
        {
            return Err(SignatureError::Malformed("must sign every X-Amz header"));
        }
        let expected = self.signature(request, secret, time).ok_or(SignatureError::Mismatch)?;
        if bool::from(expected.as_bytes().ct_eq(self.signature.as_bytes())) {
            Ok(())
        } else {
            Err(SignatureError::Mismatch)
        }
    }

    fn covers(&self, header: &str) -> bool {
        self.signed_headers.iter().any(|name| name == header)
    }

    /// The signature that `secret` gives; `None` when a signed header is not there.
    fn signature(&self, request: &Request, secret: &str, time: &str) -> Option<String> {
        let canonical = self.canonical_request(request)?;
        let Self { date, region, service, .. } = self;
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("{ALGORITHM}\n{time}\n{date}/{region}/{service}/aws4_request\n{digest}");
        let mut key = hmac(format!("AWS4{secret}").as_bytes(), date);
        for part in [region, service, "aws4_request"] {
            key = hmac(&key, part);
        }
        Some(hex::encode(hmac(&key, &to_sign)))
    }

    fn canonical_request(&self, request: &Request) -> Option<String> {
        // The path is encoded once more than it was sent, and slashes in a row are one, as all services but S3 want it.
        let path = one_slash(request.path());
        let path = utf8_percent_encode(&path, ENCODED_IN_PATH);
        let query = canonical_query(request.query());
        let mut headers = String::new();
        for name in &self.signed_headers {
            let values: Vec<String> = request
                .headers
                .get_all(name.as_str())
                .iter()
                .map(|value| Some(value.to_str().ok()?.split_whitespace().collect::<Vec<_>>().join(" ")))
                .collect::<Option<_>>()?;
            if values.is_empty() {
                return None;
            }
            // Writing to a `String` cannot fail.
            let _ = writeln!(headers, "{name}:{}", values.join(","));
        }
        let payload = hex::encode(Sha256::digest(&request.body));
        let signed = self.signed_headers.join(";");
        Some(format!("{}\n{path}\n{query}\n{headers}\n{signed}\n{payload}", request.method))
    }
}

fn one_slash(path: &str) -> String {
    let mut one = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !one.ends_with('/') {
            one.push(character);
        }
    }
    one
}

fn canonical_query(query: &str) -> String {
    let recode = |part: &str| {
        let decoded = percent_decode_str(part).collect::<Vec<u8>>();
        percent_encoding::percent_encode(&decoded, ENCODED).to_string()
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (recode(name), recode(value))
        })
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Reads `20260301T100000Z`.
fn parse_time(text: &str) -> Option<Timestamp> {
    if text.len() != 16 || !text.is_ascii() {
        return None;
    }
    let (year, month, day) = (&text[..4], &text[4..6], &text[6..8]);
    let (hour, minute, second) = (&text[9..11], &text[11..13], &text[13..15]);
    if &text[8..9] != "T" || !text.ends_with('Z') {
        return None;
    }
    Timestamp::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

/// HMAC-SHA256.
pub(crate) fn hmac(key: &[u8], data: &str) -> Vec<u8> {
    // HMAC takes a key of any length.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mut mac| {
            mac.update(data.as_bytes());
            mac.finalize().into_bytes().to_vec()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// A request of AWS's published test suite, which all use one key and one time.
    fn suite(
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: &str,
        service: &str,
        signature: &str,
    ) -> Request {
        let mut all = HeaderMap::new();
        let date = ("x-amz-date", "20150830T123600Z");
        for (name, value) in headers.iter().chain(&[date]) {
            let name: HeaderName = name.parse().expect("a header");
            all.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let mut signed: Vec<&str> = all.keys().map(HeaderName::as_str).collect();
        signed.sort_unstable();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/{service}/aws4_request, \
             SignedHeaders={}, Signature={signature}",
            signed.join(";")
        );
        all.insert("authorization", HeaderValue::from_str(&authorization).expect("a value"));
        Request {
            method: Method::from_bytes(method.as_bytes()).expect("a method"),
            uri: uri.parse().expect("a URI"),
            headers: all,
            body: Bytes::copy_from_slice(body.as_bytes()),
            peer: ([127, 0, 0, 1], 1).into(),
        }
    }

    fn list_users() -> Request {
        suite(
            "GET",
            "/?Action=ListUsers&Version=2010-05-08",
            &[
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("host", "iam.amazonaws.com"),
            ],
            "",
            "iam",
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        )
    }

    fn signed_at() -> Timestamp {
        Timestamp::parse("2015-08-30T12:36:00Z").expect("a time")
    }

    fn verify(request: &Request, secret: &str, now: Timestamp) -> Result<(), SignatureError> {
        Authorization::of(request)?.verify(request, secret, now)
    }

    #[test]
    fn the_published_examples_verify() {
        let host = ("host", "example.amazonaws.com");
        let examples = [
            list_users(),
            suite(
                "GET",
                "/",
                &[host],
                "",
                "service",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            suite(
                "GET",
                "/?Param2=value2&Param1=value1",
                &[host],
                "",
                "service",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            suite(
                "GET",
                "/",
                &[host, ("my-header1", "value1"), ("my-header2", "\"a   b   c\"")],
                "",
                "service",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            suite(
                "POST",
                "/",
                &[host, ("content-type", "application/x-www-form-urlencoded")],
                "Param1=value1",
                "service",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for example in examples {
            assert_eq!(verify(&example, SECRET, signed_at()), Ok(()), "{}", example.uri);
        }
    }

    #[test]
    fn slashes_in_a_row_are_one() {
        assert_eq!((one_slash("//"), one_slash("/a//b/")), ("/".to_owned(), "/a/b/".to_owned()));
    }

    #[test]
    fn whatever_is_changed_after_signing_is_noticed() {
        let request = list_users();
        assert_eq!(verify(&request, "another", signed_at()), Err(SignatureError::Mismatch));
        let changes: [fn(&mut Request); 5] = [
            |r| r.body = Bytes::from_static(b"x"),
            |r| r.uri = "/?Action=ListUsers&Version=2010-05-09".parse().expect("a URI"),
            |r| r.uri = "/a?Action=ListUsers&Version=2010-05-08".parse().expect("a URI"),
            |r| r.method = Method::POST,
            |r| drop(r.headers.insert("host", HeaderValue::from_static("sts.amazonaws.com"))),
        ];
        for change in changes {
            let mut changed = request.clone();
            change(&mut changed);
            assert_eq!(verify(&changed, SECRET, signed_at()), Err(SignatureError::Mismatch), "{changed:?}");
        }
        let mut unsigned = request;
        unsigned.headers.insert("x-amz-target", HeaderValue::from_static("Other.Action"));
        assert!(matches!(verify(&unsigned, SECRET, signed_at()), Err(SignatureError::Malformed(_))));
    }

    #[test]
    fn a_signature_holds_for_five_minutes_either_way() {
        let second = Duration::from_secs(1);
        for now in [signed_at() + MAX_SKEW, signed_at() - MAX_SKEW] {
            assert_eq!(verify(&list_users(), SECRET, now), Ok(()));
        }
        for now in [signed_at() + MAX_SKEW + second, signed_at() - MAX_SKEW - second] {
            assert!(matches!(verify(&list_users(), SECRET, now), Err(SignatureError::Skewed { .. })));
        }
    }

    #[test]
    fn headers_of_another_form_are_refused() {
        for header in [
            "",
            "Bearer x",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/e/aws4_request, SignedHeaders=host, Signature=x",
        ] {
            let mut request = list_users();
            request.headers.insert("authorization", HeaderValue::from_static(header));
            assert!(matches!(Authorization::of(&request), Err(SignatureError::Malformed(_))), "{header:?}");
        }
        assert_eq!(parse_time("20150830T123600Z"), Some(signed_at()));
        for odd in ["", "20150830T1236000", "2015083ÖT123600", "20151330T123600Z"] {
            assert_eq!(parse_time(odd), None, "{odd}");
        }
    }
}
