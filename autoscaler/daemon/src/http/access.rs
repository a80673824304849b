//! Who may do what.

use super::token::bearer;
use super::{Identity, Refusal, TokenFile};
use axum::http::header::{FORWARDED, HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use fleet::{InstanceId, Timestamp};
use fleet_identity::TokenKeys;
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who may speak for nodes and give orders.
#[derive(Debug, Default)]
pub struct Access {
    /// How nodes prove who they are; `None`: they cannot.
    pub identity: Option<Identity>,
    /// Tokens that nodes share, for labs: whoever has one speaks for the instance whose address the call comes from.
    /// Without these and `identity` nothing is taken from nodes.
    pub samples: Option<TokenFile>,
    /// The tokens of operators; `None`: orders are taken from loopback.
    pub operators: Option<TokenFile>,
}

/// For whom a caller may speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    /// For the instance that it has proved to be.
    Only(InstanceId),
    /// For the instance whose address it has, which is for the engine to say.
    ByAddress,
}

impl Speaker {
    /// Whether the caller may speak for `instance`.
    pub(super) fn may_speak_for(&self, instance: &InstanceId) -> Result<(), Refusal> {
        match self {
            Self::Only(own) if own != instance => {
                Err(forbidden(&format!("this token is that of {own}, and speaks for no other instance")))
            }
            Self::Only(_) | Self::ByAddress => Ok(()),
        }
    }
}

impl Access {
    /// For whom a request may carry samples and notices. That it comes from the right address is for the engine to say.
    pub(super) fn node(&self, headers: &HeaderMap, now: Timestamp) -> Result<Speaker, Refusal> {
        if self.identity.is_none() && self.samples.is_none() {
            return Err(forbidden(
                "nothing is taken from nodes: the daemon was started without a samples token file and without \
                 instance identity certificates",
            ));
        }
        let token = bearer(headers).filter(|token| TokenKeys::looks_like_one(token));
        if let (Some(identity), Some(token)) = (&self.identity, token) {
            return identity.verify(token, now).map(Speaker::Only).map_err(|refused| {
                // One that another process made looks forged where the two do not share their keys.
                let words = format!("the node's token is refused: {refused}: identify again");
                Refusal::new(StatusCode::UNAUTHORIZED, words)
            });
        }
        if self.samples.as_ref().is_some_and(|tokens| tokens.admits(headers)) {
            return Ok(Speaker::ByAddress);
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "an agent's bearer token is needed"))
    }

    /// Whether a request may give orders.
    ///
    /// Without a token, where a request comes from is all that is known of it. A browser on this host can be made
    /// to send requests by any page that it shows, and a proxy sends those of others: neither is the operator's
    /// own program, and both give themselves away by their headers.
    pub(super) fn orders(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<(), Refusal> {
        if let Some(tokens) = &self.operators {
            return admit(tokens, headers, "an operator's");
        }
        if !peer.ip().is_loopback() {
            return Err(forbidden(
                "orders are taken from this host alone: the daemon was started without an operator token file",
            ));
        }
        if headers.contains_key(ORIGIN) || !names_loopback(headers) {
            return Err(forbidden("orders are not taken from a browser without an operator token file"));
        }
        if headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR) {
            return Err(forbidden("orders are not taken through a proxy without an operator token file"));
        }
        Ok(())
    }
}

fn admit(tokens: &TokenFile, headers: &HeaderMap, whose: &str) -> Result<(), Refusal> {
    if tokens.admits(headers) {
        Ok(())
    } else {
        Err(Refusal::new(StatusCode::UNAUTHORIZED, format!("{whose} bearer token is needed")))
    }
}

fn forbidden(why: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, why)
}

/// Whether `Host` is this host by address or as `localhost`: not a name that somebody's DNS points here.
fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a header")))
            .collect()
    }

    #[test]
    fn without_a_token_file_orders_come_from_this_host_s_own_programs_alone() {
        let access = Access::default();
        let local: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        for (pairs, peer, taken) in [
            (&[("host", "127.0.0.1:7575")][..], "127.0.0.1:1", true),
            (&[("host", "127.0.0.1")], "127.0.0.1:1", true),
            (&[("host", "localhost:7575")], "[::1]:1", true),
            (&[("host", "[::1]:7575")], "[::1]:1", true),
            (&[("host", "[::1]")], "[::1]:1", true),
            (&[("host", "127.0.0.1:7575")], "10.0.0.4:1", false),
            (&[("host", "rebound.example:7575")], "127.0.0.1:1", false),
            (&[], "127.0.0.1:1", false),
            (&[("host", "127.0.0.1:7575"), ("origin", "http://evil.example")], "127.0.0.1:1", false),
            (&[("host", "127.0.0.1:7575"), ("x-forwarded-for", "10.0.0.9")], "127.0.0.1:1", false),
            (&[("host", "127.0.0.1:7575"), ("forwarded", "for=10.0.0.9")], "127.0.0.1:1", false),
        ] {
            let peer = peer.parse().expect("an address");
            assert_eq!(access.orders(&headers(pairs), peer).is_ok(), taken, "{pairs:?} from {peer}");
        }
        assert!(access.node(&headers(&[]), Timestamp::from_secs(0)).is_err(), "nodes need tokens");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, "0123456789abcdef").expect("a file");
        let operators = Some(TokenFile::open(&path).expect("a token file"));
        let access = Access { operators, ..Access::default() };
        assert!(access.orders(&headers(&[("host", "localhost")]), local).is_err(), "loopback is not enough");
        let token = headers(&[("authorization", "Bearer 0123456789abcdef"), ("origin", "http://console")]);
        assert!(access.orders(&token, "10.0.0.4:1".parse().expect("an address")).is_ok());
    }
}
