//! Machine images.

use crate::ImageId;
use serde::{Deserialize, Serialize};

/// An image as EC2 shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageView {
    /// Its id.
    pub id: ImageId,
    /// EC2's word for its state: `available`, `pending`, `failed`, `disabled`, …
    pub state: String,
    /// EC2's word for what it runs on: `x86_64`, `arm64`; `None` where EC2 does not say.
    pub architecture: Option<String>,
}

impl ImageView {
    /// Whether it can be launched.
    pub fn is_available(&self) -> bool {
        self.state == "available"
    }
}
