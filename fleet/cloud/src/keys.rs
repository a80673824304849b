//! The access keys that requests may be signed with: those of the configuration, and those that were issued
//! for a while.

use crate::config::{Credential, Secret};
use crate::sigv4::hmac;
use fleet::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// The most issued keys that are kept; the ones that end first are forgotten first.
const MAX_ISSUED: usize = 10_000;

/// A key, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub id: String,
    pub secret: Secret,
    /// What the requests of an issued key must carry beside their signature.
    pub session: Option<Session>,
    /// Whose it is.
    pub principal: Principal,
}

/// The rest of an issued key.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub token: Secret,
    /// By the host's clock.
    pub expires: Timestamp,
}

/// Who a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A user of the account.
    User(String),
    /// A role, and the name of the session in which it was assumed.
    Role { role: String, session: String },
}

impl Principal {
    /// The ARN, as `GetCallerIdentity` shows it.
    pub fn arn(&self, account: &str) -> String {
        match self {
            Self::User(name) => format!("arn:aws:iam::{account}:user/{name}"),
            Self::Role { role, session } => format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"),
        }
    }
    /// The unique id, as `GetCallerIdentity` shows it.
    pub fn user_id(&self) -> String {
        let unique = |prefix: &str, name: &str| {
            format!("{prefix}{}", &hex::encode(hmac(b"muster", name)).to_uppercase()[..17])
        };
        match self {
            Self::User(name) => unique("AIDA", name),
            Self::Role { role, session } => format!("{}:{session}", unique("AROA", role)),
        }
    }
}

/// All keys.
#[derive(Debug)]
pub(crate) struct Keys {
    configured: BTreeMap<String, Key>,
    issued: BTreeMap<String, Key>,
    count: u64,
    seed: u64,
}

impl Keys {
    pub fn new(credentials: &[Credential], seed: u64) -> Self {
        let configured = credentials.iter().map(|credential| {
            let key = Key {
                id: credential.access_key.clone(),
                secret: credential.secret.clone(),
                session: None,
                principal: Principal::User(credential.access_key.clone()),
            };
            (key.id.clone(), key)
        });
        Self { configured: configured.collect(), issued: BTreeMap::new(), count: 0, seed }
    }

    /// The key of an id, ended ones too: they are refused with another code than unknown ones.
    pub fn find(&self, id: &str) -> Option<Key> {
        self.configured.get(id).or_else(|| self.issued.get(id)).cloned()
    }

    /// Issues a key for `lasting` from `now` on (the host's time).
    ///
    /// Made from the seed and a count: these keys open nothing but this simulation.
    pub fn issue(&mut self, principal: Principal, now: Timestamp, lasting: Duration) -> (Key, Session) {
        self.count += 1;
        let part =
            |what: &str| hex::encode(hmac(&self.seed.to_be_bytes(), &format!("{what} {}", self.count)));
        let session = Session { token: Secret::new(part("token")), expires: now + lasting };
        let key = Key {
            id: format!("ASIA{}", &part("id").to_uppercase()[..16]),
            secret: Secret::new(&part("secret")[..40]),
            session: Some(session.clone()),
            principal,
        };
        self.issued.insert(key.id.clone(), key.clone());
        while self.issued.len() > MAX_ISSUED {
            let ends = |key: &Key| key.session.as_ref().map(|session| session.expires);
            let Some(first) = self.issued.values().min_by_key(|key| ends(key)).map(|key| key.id.clone())
            else {
                break;
            };
            self.issued.remove(&first);
        }
        (key, session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_keys_differ_and_the_first_to_end_are_forgotten_first() {
        let mut keys = Keys::new(&[Credential::new("muster", "s")], 1);
        let role = Principal::Role { role: "node".into(), session: "i-1".into() };
        let (long, _) = keys.issue(role.clone(), Timestamp::EPOCH, Duration::from_secs(99));
        let (short, _) = keys.issue(role.clone(), Timestamp::EPOCH, Duration::from_secs(1));
        assert_ne!(long.id, short.id);
        assert_ne!(long.secret, short.secret);
        for _ in 2..=MAX_ISSUED {
            keys.issue(role.clone(), Timestamp::EPOCH, Duration::from_secs(50));
        }
        assert!(keys.find(&short.id).is_none());
        assert!(keys.find(&long.id).is_some());
        assert!(keys.find("muster").is_some(), "a configured key is never forgotten");
        assert_eq!(role.arn("123456789012"), "arn:aws:sts::123456789012:assumed-role/node/i-1");
    }
}
