//! What Consul's refusals mean. They are plain text, and the same status stands for many things.

pub(crate) use fleet::chain;
use fleet::{ApiError, ErrorClass};
use reqwest::StatusCode;
use std::time::Duration;

/// The service's name in errors and metrics.
pub(crate) const SERVICE: &str = "consul";

/// Whether a call changes something: then an answer that is lost leaves open whether it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

/// Texts that say more than the status they come with, seen on Consul 1.21 and in answers that one server passes
/// on for another.
const TEXTS: &[(&str, ErrorClass)] = &[
    ("Permission denied", ErrorClass::Denied),
    ("ACL not found", ErrorClass::Denied),
    ("rate limit", ErrorClass::Throttled { retry_after: None }),
    ("too many concurrent connections", ErrorClass::Throttled { retry_after: None }),
    // Said before anything is sent to a leader.
    ("No cluster leader", ErrorClass::Transient),
    ("No known Consul servers", ErrorClass::Transient),
];

/// What an answer that is no success means.
pub(crate) fn refusal(
    operation: &str,
    effect: Effect,
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &[u8],
) -> ApiError {
    let text = String::from_utf8_lossy(body);
    let told = TEXTS.iter().find(|(part, _)| text.contains(part)).map(|(_, class)| *class);
    let class = told.unwrap_or(match (status.as_u16(), effect) {
        (401 | 403, _) => ErrorClass::Denied,
        (404, _) => ErrorClass::NotFound,
        (409, _) => ErrorClass::Conflict,
        (429, _) => ErrorClass::Throttled { retry_after: None },
        (408 | 500..=599, Effect::Read) => ErrorClass::Transient,
        (408 | 500..=599, Effect::Write) => ErrorClass::Unclear,
        _ => ErrorClass::Malformed,
    });
    let class = match class {
        ErrorClass::Throttled { .. } => ErrorClass::Throttled { retry_after },
        other => other,
    };
    ApiError::new(class, SERVICE, operation, Some(status.as_str()), text.trim())
}

/// A call that got no whole answer.
pub(crate) fn transport(operation: &str, effect: Effect, error: reqwest::Error) -> ApiError {
    let class = match effect {
        Effect::Write if !error.is_connect() => ErrorClass::Unclear,
        _ => ErrorClass::Transient,
    };
    // Without the address: it may carry a password.
    ApiError::new(class, SERVICE, operation, None, &chain(&error.without_url()))
}

pub(crate) fn malformed(operation: &str, why: &str) -> ApiError {
    ApiError::new(ErrorClass::Malformed, SERVICE, operation, None, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, effect: Effect, expect: ErrorClass) {
        let status = StatusCode::from_u16(status).expect("a status");
        let error = refusal("op", effect, status, None, body.as_bytes());
        assert_eq!(error.class(), expect, "{error}");
    }

    #[test]
    fn the_text_says_more_than_the_status() {
        use Effect::{Read, Write};
        let throttled = ErrorClass::Throttled { retry_after: None };
        check(403, "Permission denied: token lacks 'key:write'", Write, ErrorClass::Denied);
        check(500, "rpc error making call: ACL not found", Write, ErrorClass::Denied);
        check(500, "No cluster leader", Write, ErrorClass::Transient);
        check(500, "rpc error making call: leadership lost while committing log", Write, ErrorClass::Unclear);
        check(500, "rpc error making call: EOF", Read, ErrorClass::Transient);
        check(503, "rate limit exceeded, try again later", Write, throttled);
        check(429, "Your IP is issuing too many concurrent connections", Read, throttled);
        check(413, "Request body(600000 bytes) too large, max size: 524288", Write, ErrorClass::Malformed);
        check(400, "Missing check", Write, ErrorClass::Malformed);
        check(404, "", Read, ErrorClass::NotFound);
    }
}
