//! Names of things, each a type of its own so that one cannot be passed for another.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is; adapters check what AWS's rules ask for.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
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
        let digits = self.0.strip_prefix("i-").unwrap_or_default();
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
    /// Nomad's id of a client node.
    NodeId
);
name!(
    /// A queue's id of a message: the same each time that the message is delivered.
    MessageId
);
