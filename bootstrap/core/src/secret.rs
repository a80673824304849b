//! What nobody may see: tokens, passwords, keys.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use zeroize::Zeroizing;

/// A text that `Debug` does not print, and whose memory is overwritten when it is let go.
///
/// It has neither `Display` nor `Serialize`: whoever needs the text says [`Secret::expose`]. Copies of it are
/// overwritten as well. What a library makes of it (a header on its way, a template's value) is beyond its reach.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `text` with each place where this secret stands in it struck out. Secrets of less than four bytes are left:
    /// they are in everything.
    pub fn strike_from(&self, text: &str) -> String {
        const SHORT: usize = 4;
        if self.0.len() < SHORT { text.to_owned() } else { text.replace(self.expose(), SHOWN) }
    }
}

/// What stands in a secret's place.
const SHOWN: &str = "(secret)";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Secret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }
            fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }
        }
        deserializer.deserialize_string(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_show_and_is_struck_from_texts() {
        let secret: Secret = serde_json::from_str("\"hvs.pl\\u0061nted\"").expect("a text");
        assert_eq!(secret.expose(), "hvs.planted");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "(secret) Some((secret))");
        assert_eq!(secret.strike_from("no hvs.planted, and hvs.planted2"), "no (secret), and (secret)2");
        assert_eq!(Secret::new("a").strike_from("banana"), "banana");
    }
}
