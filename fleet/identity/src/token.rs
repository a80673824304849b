//! Bearer tokens of nodes: `mn1.INSTANCE.EXPIRES.MAC`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleet::{InstanceId, Timestamp};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;

/// The beginning of every token of this version.
const PREFIX: &str = "mn1.";
/// The longest token: the longest id of an instance, a time and a MAC fit twice.
const MAX_TOKEN_BYTES: usize = 256;
/// The bytes of a key: as many as the digest has.
const KEY_BYTES: usize = 32;
/// The most keys: more than a rotation ever has at once.
const MAX_KEYS: usize = 8;
/// What sets these MACs apart from any other that the keys might be used for.
const PURPOSE: &str = "muster node token 1";

/// The keys that tokens are made and known with, the same for all processes of a cluster. The first makes them, all know
/// them: a new key is put in front, and the old one taken out when the last token of its time has ended.
pub struct TokenKeys {
    first: hmac::Key,
    others: Vec<hmac::Key>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("others", &self.others.len()).finish_non_exhaustive()
    }
}

/// Why a text holds no keys. Never says what the text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Not one key a line, each of 64 hexadecimal digits.
    #[error("read keys: one to {MAX_KEYS} are needed, one a line, each of 64 hexadecimal digits")]
    Malformed,
    /// The host has no random numbers to give.
    #[error("get random numbers from the host")]
    NoRandom,
}

/// Why a token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It is none.
    #[error("it is no token of a node")]
    Malformed,
    /// None of our keys made it.
    #[error("it was not made here")]
    Forged,
    /// It has ended: its holder is to identify again.
    #[error("it has expired")]
    Expired,
}

impl TokenKeys {
    /// Keys from their text: one a line, each of 64 hexadecimal digits; blank lines are not minded.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Option<Vec<hmac::Key>> = lines.map(key).collect();
        let mut keys = keys.filter(|keys| keys.len() <= MAX_KEYS).ok_or(KeysError::Malformed)?.into_iter();
        let first = keys.next().ok_or(KeysError::Malformed)?;
        Ok(Self { first, others: keys.collect() })
    }

    /// The text of one new key, to be kept where nobody else reads it.
    pub fn generate() -> Result<String, KeysError> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| KeysError::NoRandom)?;
        let digits = bytes.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
        Ok(digits + "\n")
    }

    /// A token with which its holder speaks for `instance` until `expires`, and for nobody else.
    ///
    /// * `instance`: that of a [`crate::Document`]: letters, digits and dashes.
    pub fn issue(&self, instance: &InstanceId, expires: Timestamp) -> String {
        let mac = hmac::sign(&self.first, message(instance.as_str(), expires.millis()).as_bytes());
        format!("{PREFIX}{instance}.{}.{}", expires.millis(), URL_SAFE_NO_PAD.encode(mac))
    }

    /// Whose token it is. MACs are compared in constant time.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<InstanceId, TokenRefused> {
        let (instance, expires, mac) = parts(token).ok_or(TokenRefused::Malformed)?;
        let message = message(instance, expires);
        let known = std::iter::once(&self.first)
            .chain(&self.others)
            .any(|key| hmac::verify(key, message.as_bytes(), &mac).is_ok());
        if !known {
            return Err(TokenRefused::Forged);
        }
        if Timestamp::from_millis(expires) <= now {
            return Err(TokenRefused::Expired);
        }
        Ok(InstanceId::new(instance))
    }

    /// Whether a text looks like a node's token, of whatever key.
    pub fn looks_like_one(token: &str) -> bool {
        token.starts_with(PREFIX)
    }
}

fn parts(token: &str) -> Option<(&str, i64, Vec<u8>)> {
    let rest = token.strip_prefix(PREFIX).filter(|_| token.len() <= MAX_TOKEN_BYTES)?;
    let mut parts = rest.split('.');
    let (instance, expires, mac) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !instance.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return None;
    }
    Some((instance, expires.parse().ok()?, URL_SAFE_NO_PAD.decode(mac).ok()?))
}

/// No field can hold a line end, so that two different tokens never have one message.
fn message(instance: &str, expires: i64) -> String {
    format!("{PURPOSE}\n{instance}\n{expires}")
}

fn key(line: &str) -> Option<hmac::Key> {
    let digits = line.as_bytes();
    if digits.len() != KEY_BYTES * 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
    Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const OTHER: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn keys(text: &str) -> TokenKeys {
        TokenKeys::parse(text).expect("keys")
    }

    #[test]
    fn a_token_names_its_instance_until_it_expires() {
        let keys = keys(KEY);
        let token = keys.issue(&"i-0abc".into(), NOW);
        let before = Timestamp::from_millis(NOW.millis() - 1);
        assert_eq!(keys.verify(&token, before), Ok("i-0abc".into()));
        assert_eq!(keys.verify(&token, NOW), Err(TokenRefused::Expired));
        assert!(TokenKeys::looks_like_one(&token) && !TokenKeys::looks_like_one("a-shared-token-of-all"));
    }

    #[test]
    fn a_token_that_was_changed_anywhere_does_not_hold() {
        let keys = keys(KEY);
        let token = keys.issue(&"i-0abc".into(), Timestamp::from_secs(2_000));
        for at in 0..token.len() {
            for with in ["A", "0", ".", "-"] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, with);
                if changed != token {
                    assert!(keys.verify(&changed, NOW).is_err(), "{changed}");
                }
            }
            assert!(keys.verify(&token[..at], NOW).is_err());
        }
        let moved = token.replace("i-0abc", "i-0abd");
        assert_eq!(keys.verify(&moved, NOW), Err(TokenRefused::Forged));
        assert_eq!(self::keys(OTHER).verify(&token, NOW), Err(TokenRefused::Forged));
    }

    #[test]
    fn a_key_is_replaced_without_a_gap() {
        let token = keys(KEY).issue(&"i-1".into(), Timestamp::from_secs(2_000));
        let both = keys(&format!("{OTHER}\n\n{KEY}\n"));
        assert_eq!(both.verify(&token, NOW), Ok("i-1".into()));
        let new = both.issue(&"i-1".into(), Timestamp::from_secs(2_000));
        assert_eq!(keys(OTHER).verify(&new, NOW), Ok("i-1".into()));
    }

    #[test]
    fn what_is_no_key_is_refused_and_a_new_one_is_fit() {
        let (short, odd) = (&KEY[..62], format!("{KEY}\n{}g", &KEY[..63]));
        for text in ["", "\n", short, odd.as_str(), &format!("{KEY}00"), &[KEY; 9].join("\n")] {
            assert_eq!(TokenKeys::parse(text).err(), Some(KeysError::Malformed), "{text}");
        }
        let (one, two) = (TokenKeys::generate().expect("random"), TokenKeys::generate().expect("random"));
        assert_ne!(one, two);
        let token = keys(&one).issue(&"i-1".into(), Timestamp::from_secs(2_000));
        assert_eq!(keys(&two).verify(&token, NOW), Err(TokenRefused::Forged));
        assert!(!format!("{:?}", keys(KEY)).contains("0001"), "keys are not printed");
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_token_and_none_panics(text in "(mn1\\.)?[ -~]{0,300}") {
            prop_assert!(keys(KEY).verify(&text, NOW).is_err());
        }
    }
}
