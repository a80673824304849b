//! What a keeper leaves for the next one, so that an agent which was killed asks for nothing twice: no other token, no
//! other certificates, no reloads for them. In memory alone (tmpfs), beside what it is about.

use super::{Attempts, Happened, Held, Keeper, Stepped};
use crate::answer::Field;
use crate::request::{Request, Term};
use crate::token::Token;
use crate::wiped::Wiped;
use crate::{Destination, VaultError, VaultOptions, place, tls};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bootstrap_core::{Lifetime, Now, Secret};
use fleet::Timestamp;
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::Path;
use std::time::Duration;

/// The largest state: two hundred secrets of a few KiB, or one that is as large as a secret can be.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// What is left. Read leniently: whatever is not as it should be is as good as nothing.
#[derive(Serialize, Deserialize)]
struct State {
    /// Of whom: another server or another way to log in is another token.
    of: String,
    token: Bare<Secret>,
    /// When the token ends, in wall time: monotonic time is a process's own.
    until: Timestamp,
    given_seconds: u64,
    renewable: bool,
    secrets: Vec<Kept>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    request: Request,
    fields: Bare<Field>,
    term: Left,
}

/// How long a secret is still good.
#[derive(Serialize, Deserialize)]
enum Left {
    /// It is read again at once.
    Open,
    Lease {
        id: String,
        until: Timestamp,
        renewable: bool,
    },
    Certificate {
        until: Timestamp,
        whole_seconds: u64,
        leased: bool,
    },
}

/// A secret as it is, for a file that is as well kept as it was.
#[derive(Deserialize)]
#[serde(transparent)]
struct Bare<T>(T);

impl Serialize for Bare<Secret> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.expose())
    }
}

impl Serialize for Bare<Field> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Plain(&self.0).serialize(to)
    }
}

struct Plain<'a>(&'a Field);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Field::Null => to.serialize_unit(),
            Field::Flag(flag) => to.serialize_bool(*flag),
            Field::Number(number) => number.serialize(to),
            Field::Text(text) => to.serialize_str(text.expose()),
            Field::List(items) => {
                let mut list = to.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Plain(item))?;
                }
                list.end()
            }
            Field::Map(fields) => {
                let mut map = to.serialize_map(Some(fields.len()))?;
                for (name, field) in fields.iter() {
                    map.serialize_entry(name, &Plain(field))?;
                }
                map.end()
            }
        }
    }
}

/// Whose state it is.
pub(super) fn whose(options: &VaultOptions) -> String {
    let of = format!("{} {:?} {:?}", options.server.address, options.server.namespace, options.method);
    BASE64.encode(ring::digest::digest(&ring::digest::SHA256, of.as_bytes()))
}

/// When a lifetime ends, in wall time.
fn end(lifetime: &Lifetime, now: Now) -> Timestamp {
    now.wall + lifetime.from.saturating_add(lifetime.lasts).saturating_sub(now.monotonic)
}

/// What is left until then.
fn left(until: Timestamp, renewable: bool, now: Now) -> Lifetime {
    Lifetime { from: now.monotonic, lasts: until.since(now.wall), renewable }
}

impl Keeper {
    /// Takes up what was left, once. The token is looked up: one that is no longer valid is let go, and with it, by the
    /// login that follows, every lease. While Vault cannot be asked, what was left is gone on with.
    pub(super) async fn resume(&mut self, now: Now, stepped: &mut Stepped) {
        let Some(path) =
            self.options.state_file.clone().filter(|_| !std::mem::replace(&mut self.resumed, true))
        else {
            return;
        };
        let Some(state) = read(&path, &whose(&self.options)).await else { return };
        let lifetime = left(state.until, state.renewable, now);
        if lifetime.lasts.is_zero() || self.token.is_some() {
            return;
        }
        self.token = Some(Token::resumed(state.token.0, lifetime, Duration::from_secs(state.given_seconds)));
        self.token_due = true;
        for Kept { request, fields, term } in state.secrets {
            let Field::Map(fields) = fields.0 else { continue };
            let Some(term) = term.resumed(now) else { continue };
            self.secrets.insert(request, Held { fields, term, attempts: Attempts::default() });
        }
        stepped.happened.push(Happened::Resumed { secrets: self.secrets.len() });
        if let Some(token) = &self.token
            && let Err(VaultError::TokenInvalid { .. }) = self.client.look_up(&token.secret).await
        {
            stepped.happened.push(Happened::TokenLost);
            self.token = None;
        }
    }

    /// Leaves what is held, where anything has happened to it.
    pub(super) fn leave(&self, now: Now, stepped: &mut Stepped) {
        let (Some(path), Some(token)) = (&self.options.state_file, &self.token) else { return };
        if stepped.happened.is_empty() {
            return;
        }
        let secrets = self.secrets.iter().map(|(request, held)| Kept {
            request: request.clone(),
            fields: Bare(Field::Map(held.fields.clone())),
            term: Left::of(&held.term, now),
        });
        let state = State {
            of: whose(&self.options),
            token: Bare(token.secret.clone()),
            until: end(&token.lifetime, now),
            given_seconds: token.given.as_secs(),
            renewable: token.lifetime.renewable,
            secrets: secrets.collect(),
        };
        let mut bytes = Wiped::new(MOST_BYTES);
        // More than may be is not left: the next keeper asks for it anew.
        if serde_json::to_writer(&mut bytes, &state).is_err() {
            return;
        }
        let Ok(text) = String::from_utf8(std::mem::take(&mut *bytes.into_inner())) else { return };
        if let Err(error) = place::write(&Destination::private(path), &Secret::new(text)) {
            stepped.failures.push(error.into());
        }
    }
}

impl Left {
    fn of(term: &Term, now: Now) -> Self {
        match term {
            Term::Open { .. } => Self::Open,
            Term::Lease { id, lifetime } => {
                Self::Lease { id: id.clone(), until: end(lifetime, now), renewable: lifetime.renewable }
            }
            Term::Certificate { lifetime, leased } => Self::Certificate {
                until: end(lifetime, now),
                whole_seconds: lifetime.lasts.as_secs(),
                leased: *leased,
            },
        }
    }

    /// `None`: it is not worth to be gone on with.
    fn resumed(self, now: Now) -> Option<Term> {
        Some(match self {
            Self::Open => Term::Open { again: now.monotonic },
            Self::Lease { id, until, renewable } => Term::Lease { id, lifetime: left(until, renewable, now) },
            Self::Certificate { until, whole_seconds, leased } => {
                let lifetime = left(until, false, now);
                // The last fifth is for having another one.
                if lifetime.lasts <= Duration::from_secs(whole_seconds) / 5 {
                    return None;
                }
                Term::Certificate { lifetime, leased }
            }
        })
    }
}

async fn read(path: &Path, of: &str) -> Option<State> {
    let bytes = tls::bounded(path, MOST_BYTES as u64).await.ok()?;
    parse(&bytes).filter(|state| state.of == of)
}

fn parse(bytes: &[u8]) -> Option<State> {
    serde_json::from_slice(bytes).ok()
}

/// For the fuzz target.
pub(crate) fn reads(bytes: &[u8], now: Now) {
    for kept in parse(bytes).into_iter().flat_map(|state| state.secrets) {
        let _ = kept.term.resumed(now);
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.issues(), self.path(), self.arguments()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (issues, path, arguments): (bool, String, _) = Deserialize::deserialize(from)?;
        Ok(if issues { Self::issue(&path, arguments) } else { Self::read(&path, arguments) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { wall: Timestamp::from_secs(1_767_225_600), monotonic: Duration::from_secs(5) };

    #[test]
    fn a_certificate_is_gone_on_with_until_its_last_fifth() {
        let whole = Duration::from_secs(1000);
        let term = |gone: u64| {
            let lifetime = Lifetime { from: Duration::ZERO, lasts: whole, renewable: false };
            let then = Now { monotonic: Duration::ZERO, ..NOW };
            let left = Left::of(&Term::Certificate { lifetime, leased: false }, then);
            left.resumed(Now { wall: NOW.wall + Duration::from_secs(gone), ..NOW })
        };
        let Some(Term::Certificate { lifetime, .. }) = term(600) else { panic!("it is good") };
        assert_eq!((lifetime.from, lifetime.lasts), (NOW.monotonic, Duration::from_secs(400)));
        assert_eq!((term(800), term(5000)), (None, None));
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let field: Field =
            serde_json::from_str(r#"{"a":[1,-2,0.5,true,null,"x"],"b":{"c":"\u0000"}}"#).expect("JSON");
        let request = Request::issue("pki/issue/node", [("ttl".to_owned(), "1h".to_owned())].into());
        let kept = Kept { request: request.clone(), fields: Bare(field.clone()), term: Left::Open };
        let state = State {
            of: "x".into(),
            token: Bare(Secret::new("t")),
            until: NOW.wall,
            given_seconds: 60,
            renewable: true,
            secrets: vec![kept],
        };
        let text = serde_json::to_vec(&state).expect("JSON");
        let again = parse(&text).expect("a state");
        assert_eq!((again.until, again.token.0.expose()), (NOW.wall, "t"));
        assert_eq!((&again.secrets[0].request, &again.secrets[0].fields.0), (&request, &field));
    }
}
