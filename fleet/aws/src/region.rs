//! The region that the surroundings name.

use crate::transport::Transport;
use aws_config::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use fleet::Region;

/// The region that AWS's own configuration names: the environment, the profile, the instance's metadata, in this
/// order; `None` where none does.
///
/// Takes some seconds where nothing names a region and there is no metadata service.
pub async fn default_region() -> Option<Region> {
    let http = SharedHttpClient::new(Transport::new(None));
    let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http).load().await;
    sdk.region().map(|region| Region::new(region.as_ref()))
}
