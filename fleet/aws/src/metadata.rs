//! The instance that this process runs on.

use crate::transport::Transport;
use aws_config::imds::Client;
use aws_config::provider_config::ProviderConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use fleet::InstanceId;
use std::time::Duration;

/// The service is on the host itself: who has not answered by then is not there.
const NEAR: Duration = Duration::from_secs(1);

/// The instance that this process runs on, as EC2's metadata service says (IMDSv2; the environment's
/// `AWS_EC2_METADATA_SERVICE_ENDPOINT` is where it is asked); `None` where there is no such service.
///
/// Takes a second where nobody answers. Asks whatever `AWS_EC2_METADATA_DISABLED` says: that is the caller's.
pub async fn own_instance() -> Option<InstanceId> {
    let http = SharedHttpClient::new(Transport::new(None));
    let client = Client::builder()
        .configure(&ProviderConfig::without_region().with_http_client(http))
        .connect_timeout(NEAR)
        .read_timeout(NEAR)
        .build();
    let id = client.get("/latest/meta-data/instance-id").await.ok()?;
    Some(id.as_ref().trim()).filter(|id| id.starts_with("i-")).map(InstanceId::new)
}
