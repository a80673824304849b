//! Names of things, each a type of its own so that one cannot be passed for another.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A text that is made once, then copied and compared by the thousand in every cycle: copies share it, and its beginning,
/// which tells most of them apart, lies beside the pointer.
#[derive(Clone)]
struct Text {
    /// The first eight bytes, zeros behind a shorter text: as a number they are in the order of the texts.
    beginning: u64,
    whole: Arc<str>,
}

impl Text {
    fn new(whole: Arc<str>) -> Self {
        let mut beginning = [0; 8];
        beginning.iter_mut().zip(whole.bytes()).for_each(|(place, byte)| *place = byte);
        Self { beginning: u64::from_be_bytes(beginning), whole }
    }

    /// Whether its beginning is all of it.
    fn is_all(&self) -> bool {
        self.whole.len() <= size_of::<u64>()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.beginning == other.beginning
            && self.whole.len() == other.whole.len()
            && (self.is_all() || Arc::ptr_eq(&self.whole, &other.whole) || self.whole == other.whole)
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.beginning.cmp(&other.beginning).then_with(|| {
            if self.is_all() && other.is_all() {
                // Zeros apart.
                self.whole.len().cmp(&other.whole.len())
            } else if Arc::ptr_eq(&self.whole, &other.whole) {
                Ordering::Equal
            } else {
                self.whole.cmp(&other.whole)
            }
        })
    }
}

/// As the text alone: maps of names are asked by texts, too.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.whole.hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.whole.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(text.into()))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Text);

        impl $name {
            /// Takes the text as it is; adapters check what AWS's rules ask for.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Text::new(text.as_ref().into()))
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0.whole
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::new(text)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }
    };
}

name!(
    /// The operator's name of a fleet, as in `fleet "web"`.
    FleetName
);
name!(
    /// EC2's id of a fleet: `sfr-…` for a Spot Fleet request, `fleet-…` for an EC2 Fleet.
    FleetId
);
name!(
    /// EC2's id of an instance: `i-…`.
    InstanceId
);
impl InstanceId {
    /// Whether it is one as EC2 makes them: `i-` and digits, which have been 8 and are 17. What is not is no name for a file
    /// either.
    pub fn is_well_formed(&self) -> bool {
        let digits = self.as_str().strip_prefix("i-").unwrap_or_default();
        (1..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }
}
name!(
    /// An AWS region, such as `eu-west-1`.
    Region
);
name!(
    /// An availability zone, such as `eu-west-1a`.
    Zone
);
name!(
    /// An instance type, such as `m5.large`.
    InstanceType
);
name!(
    /// EC2's id of an image: `ami-…`.
    ImageId
);
impl ImageId {
    /// Whether it is one as EC2 makes them: `ami-` and 8 or 17 hexadecimal digits.
    pub fn is_well_formed(&self) -> bool {
        let digits = self.as_str().strip_prefix("ami-").unwrap_or_default();
        matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}
name!(
    /// Nomad's id of a client node.
    NodeId
);
name!(
    /// A queue's id of a message: the same each time that the message is delivered.
    MessageId
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashSet};

    #[test]
    fn names_are_in_the_order_of_their_texts_however_long() {
        let texts = [
            "",
            "\0",
            "a",
            "a\0",
            "a\0b",
            "ab",
            "i-0",
            "i-012345",
            "i-012345\0",
            "i-0123456",
            "i-0123457",
            "ä",
            "日本語",
        ];
        let names: Vec<FleetName> = texts.iter().map(|text| (*text).into()).collect();
        for (one, text) in names.iter().zip(texts) {
            for (other, of_other) in names.iter().zip(texts) {
                assert_eq!(one.cmp(other), text.cmp(of_other), "{text:?} and {of_other:?}");
                assert_eq!(one == other, text == of_other, "{text:?} and {of_other:?}");
            }
        }
    }

    #[test]
    fn a_name_is_found_by_its_text() {
        let names = ["sfr-1", "sfr-2", "sfr-0123456789"].map(FleetId::from);
        let (sorted, hashed) = (BTreeSet::from(names.clone()), HashSet::from(names));
        assert!(sorted.contains("sfr-0123456789") && hashed.contains("sfr-0123456789"));
        assert!(!sorted.contains("sfr-3") && !hashed.contains("sfr-3"));
    }

    #[test]
    fn a_name_is_written_as_its_text() {
        let id = InstanceId::from("i-0123456789abcdef0");
        let written = serde_json::to_string(&id).expect("it encodes");
        assert_eq!(written, r#""i-0123456789abcdef0""#);
        assert_eq!(serde_json::from_str::<InstanceId>(&written).expect("it decodes"), id);
        assert_eq!(
            format!("{id:?} [{id:>21}]"),
            r#"InstanceId("i-0123456789abcdef0") [  i-0123456789abcdef0]"#
        );
    }
}
