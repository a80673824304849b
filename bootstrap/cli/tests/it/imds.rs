//! A metadata service that says what a test wants of some documents, and what the cloud's own says of all others, of whatever
//! instance.

use crate::front::Front;
use fleet::InstanceId;
use std::net::{Ipv4Addr, SocketAddr};

pub struct Imds(Front);

impl Imds {
    /// In front of the cloud's.
    pub fn before(cloud: SocketAddr) -> Self {
        // Each path says whose it is.
        Self(Front::start(cloud, &InstanceId::new(""), Ipv4Addr::LOCALHOST.into()))
    }
    pub const fn at(&self) -> SocketAddr {
        self.0.at()
    }
    /// Says so of a document, whose path ends like this, from now on; `None`: there is none.
    pub fn say(&self, path: &str, text: Option<&str>) {
        self.0.says(path, text);
    }
}
