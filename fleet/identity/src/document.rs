//! The instance identity document.

use fleet::{InstanceId, Region, Timestamp};
use serde::Deserialize;
use std::net::IpAddr;

/// The largest document that is read; AWS's are about 500 bytes.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024;

/// What AWS says of an instance, as far as it matters here. Fields that AWS adds are not minded.
///
/// It is made anew when the instance is launched and started, and not when it is rebooted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The instance.
    pub instance: InstanceId,
    /// The twelve digits of the account that owns it.
    pub account: String,
    /// Where it runs.
    pub region: Region,
    /// The image that it was launched from.
    pub image: Option<String>,
    /// Such as `m5.large`.
    pub instance_type: Option<String>,
    /// When it was launched or last started.
    pub pending: Timestamp,
    /// Its primary private address; an instance in a subnet of IPv6 alone has none.
    pub private_ip: Option<IpAddr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    instance_id: String,
    account_id: String,
    region: String,
    image_id: Option<String>,
    instance_type: Option<String>,
    pending_time: String,
    private_ip: Option<IpAddr>,
}

impl Document {
    /// Reads a document. * returns: what is wrong with it, in words.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|wrong| wrong.to_string())?;
        let Raw { instance_id, account_id, region, image_id, instance_type, pending_time, private_ip } = raw;
        let instance = InstanceId::new(instance_id);
        if !instance.is_well_formed() {
            return Err("instanceId is not the id of an instance".to_owned());
        }
        let pending = Timestamp::parse(&pending_time).map_err(|wrong| format!("pendingTime: {wrong}"))?;
        Ok(Self {
            instance,
            account: account_id,
            region: Region::new(region),
            image: image_id,
            instance_type,
            pending,
            private_ip,
        })
    }
}
