//! What templates ask of Vault, and what comes of it.

use crate::VaultError;
use crate::answer::{Envelope, Field, Fields, fields_of};
use crate::client::{Call, Client};
use bootstrap_core::{Lifetime, Now, Secret};
use der::DecodePem as _;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use x509_cert::Certificate;

/// A question to Vault. The same question, the same secret: a certificate and its key may be in two files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    kind: Kind,
    path: String,
    arguments: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A GET; arguments are its query, such as `version` of a secret of KV version 2.
    Read,
    /// A POST that issues a certificate; arguments are its body.
    Issue,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may be made of secrets.
        write!(f, "{:?} {}", self.kind, self.path)
    }
}

/// How long what was fetched is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    /// No end: it is read again from time to time, to see whether it has changed.
    Open {
        /// When, in monotonic time.
        again: Duration,
    },
    /// A lease, which may be renewed.
    Lease {
        /// Its id.
        id: String,
        /// How long it lives.
        lifetime: Lifetime,
    },
    /// A certificate.
    Certificate {
        /// Until when it is good.
        lifetime: Lifetime,
        /// The lease that goes with it, where the role has `generate_lease`: it goes with the token.
        leased: bool,
    },
}

impl Request {
    pub(crate) fn read(path: &str, arguments: BTreeMap<String, String>) -> Self {
        Self { kind: Kind::Read, path: path.trim_matches('/').to_owned(), arguments }
    }
    pub(crate) fn issue(path: &str, arguments: BTreeMap<String, String>) -> Self {
        Self { kind: Kind::Issue, path: path.trim_matches('/').to_owned(), arguments }
    }
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
    pub(crate) const fn arguments(&self) -> &BTreeMap<String, String> {
        &self.arguments
    }
    /// Whether it makes something anew each time.
    pub(crate) const fn issues(&self) -> bool {
        matches!(self.kind, Kind::Issue)
    }

    /// Asks Vault.
    pub(crate) async fn fetch(
        &self,
        client: &Client,
        token: &Secret,
        now: Now,
        refresh: Duration,
    ) -> Result<(Fields, Term), VaultError> {
        let query: Vec<(String, String)> =
            self.arguments.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let call = match self.kind {
            Kind::Read => Call { query: &query, ..Call::get(&self.path) },
            Kind::Issue => Call::post(&self.path, &self.arguments),
        };
        let name = format!("{} {}", call.method, self.path);
        let envelope = client.call(call.with(token)).await?;
        match self.kind {
            Kind::Read => read(envelope, &name, now, refresh),
            Kind::Issue => issued(envelope, &name, now),
        }
    }
}

/// A secret: of KV, or one that was made for us.
fn read(envelope: Envelope, name: &str, now: Now, refresh: Duration) -> Result<(Fields, Term), VaultError> {
    let Envelope { lease_id, lease_duration, renewable, data, .. } = envelope;
    let deleted =
        || VaultError::NotFound { call: name.to_owned(), words: "this version was deleted".to_owned() };
    let fields = data.and_then(fields_of).ok_or_else(deleted)?;
    let term = if lease_id.is_empty() {
        Term::Open { again: now.monotonic.saturating_add(refresh) }
    } else {
        let lifetime =
            Lifetime { from: now.monotonic, lasts: Duration::from_secs(lease_duration), renewable };
        Term::Lease { id: lease_id, lifetime }
    };
    Ok((fields, term))
}

/// A certificate that was made for us, with its chain as one text.
fn issued(envelope: Envelope, name: &str, now: Now) -> Result<(Fields, Term), VaultError> {
    let garbage = |why: &str| VaultError::Garbage { call: name.to_owned(), why: why.to_owned() };
    let leased = !envelope.lease_id.is_empty();
    let data = envelope.data.ok_or_else(|| garbage("it has no data"))?;
    let mut fields =
        data.as_map().map(|fields| (**fields).clone()).ok_or_else(|| garbage("it has no data"))?;
    let pem =
        fields.get("certificate").and_then(Field::as_text).ok_or_else(|| garbage("it has no certificate"))?;
    let lasts = remaining(pem.expose(), now).ok_or_else(|| garbage("its certificate cannot be read"))?;
    let chain = match fields.get("ca_chain") {
        Some(Field::List(links)) => {
            let links: Vec<&str> = links.iter().filter_map(Field::as_text).map(Secret::expose).collect();
            links.join("\n")
        }
        // A root of its own has no chain but itself.
        _ => fields
            .get("issuing_ca")
            .and_then(Field::as_text)
            .map(Secret::expose)
            .unwrap_or_default()
            .to_owned(),
    };
    fields.insert("ca_chain".to_owned(), Field::Text(Secret::new(chain)));
    let lifetime = Lifetime { from: now.monotonic, lasts, renewable: false };
    Ok((Arc::new(fields), Term::Certificate { lifetime, leased }))
}

/// How long a certificate is still good; `None`: it is none.
pub(crate) fn remaining(pem: &str, now: Now) -> Option<Duration> {
    let certificate = Certificate::from_pem(pem.trim().as_bytes()).ok()?;
    let until = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    let since = Duration::from_millis(u64::try_from(now.wall.millis()).unwrap_or(0));
    Some(until.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::Timestamp;

    const NOW: Now = Now { wall: Timestamp::from_secs(1_767_225_600), monotonic: Duration::from_secs(50) };

    fn envelope(body: &str) -> Envelope {
        crate::answer::envelope(body.as_bytes()).expect("an answer")
    }

    #[test]
    fn what_has_no_lease_is_read_again_and_a_lease_is_kept() {
        let refresh = Duration::from_secs(300);
        let term = |body: &str| read(envelope(body), "GET x", NOW, refresh).map(|(_, term)| term);
        let open = term(r#"{"lease_id":"","lease_duration":2764800,"data":{"a":"b"}}"#);
        assert_eq!(open, Ok(Term::Open { again: Duration::from_secs(350) }));
        let lease = term(r#"{"lease_id":"db/1","lease_duration":60,"renewable":true,"data":{"a":"b"}}"#);
        let lifetime = Lifetime { from: NOW.monotonic, lasts: Duration::from_secs(60), renewable: true };
        assert_eq!(lease, Ok(Term::Lease { id: "db/1".into(), lifetime }));
        assert!(matches!(term(r#"{"data":null}"#), Err(VaultError::NotFound { .. })));
    }

    #[test]
    fn a_certificate_is_good_until_its_end_and_its_chain_is_one_text() {
        let mut params = rcgen::CertificateParams::new(vec!["node".into()]).expect("names");
        params.not_after = rcgen::date_time_ymd(2026, 1, 2);
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let body = serde_json::json!({ "data": { "certificate": pem, "ca_chain": ["one", "two"], "private_key": "k" } });
        let (fields, term) = issued(envelope(&body.to_string()), "POST x", NOW).expect("a certificate");
        let lifetime = Lifetime { from: NOW.monotonic, lasts: Duration::from_secs(86_400), renewable: false };
        assert_eq!(term, Term::Certificate { lifetime, leased: false });
        assert_eq!(fields["ca_chain"].as_text().map(Secret::expose), Some("one\ntwo"));
        let none = serde_json::json!({ "data": { "certificate": "no PEM" } });
        assert!(issued(envelope(&none.to_string()), "POST x", NOW).is_err());
    }
}
