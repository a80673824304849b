//! The little that the agent asks of AWS, without the SDK of EC2, which would be half of the binary.
//!
//! * [`Aws::parameters`]: all of Parameter Store beneath a path.
//! * [`Aws::sign_caller_identity`]: a signed question who we are, for whoever wants to ask STS on our behalf: Vault.
//! * [`Aws::tag_self`]: a tag of an instance.
//!
//! Who signs is the instance's role, by its metadata service. What goes to this host or to that service goes past
//! every proxy; all else through the one that the environment names. Everything is bounded in time and size;
//! nothing is tried again in here: that is the caller's.

mod error;
mod options;
mod parameters;
mod sign;
mod tags;
mod transport;

pub use error::{AwsError, Operation};
pub use options::{AwsOptions, Credentials, Endpoints};
pub use parameters::Parameter;
pub use sign::{CallerIdentity, SignedRequest};
/// For the fuzz target of this reader.
#[doc(hidden)]
pub use tags::{is_tagged, refusal_in};

use aws_config::imds::client::Client as MetadataClient;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use std::time::Duration;

/// The metadata service is on the host itself: who has not answered by then is not there, or is busy.
const NEAR: Duration = Duration::from_secs(1);

/// AWS, as far as a node needs it. Cheap to make: nothing is asked or read before the first call.
#[derive(Clone, Debug)]
pub struct Aws {
    options: AwsOptions,
    credentials: SharedCredentialsProvider,
    ssm: aws_sdk_ssm::Client,
}

impl Aws {
    /// Prepares it. Fails where the address of the metadata service is none.
    pub fn new(options: AwsOptions) -> Result<Self, AwsError> {
        let http = SharedHttpClient::new(transport::Transport::default());
        let credentials = provider(&options, http.clone())?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(options.connect_timeout)
            .operation_timeout(options.timeout)
            .build();
        let mut config = aws_sdk_ssm::Config::builder()
            .behavior_version(aws_sdk_ssm::config::BehaviorVersion::v2026_01_12())
            .region(aws_sdk_ssm::config::Region::new(options.region.clone()))
            .credentials_provider(credentials.clone())
            .http_client(http)
            .timeout_config(timeouts)
            // One policy of retries, the caller's.
            .retry_config(RetryConfig::disabled());
        if let Some(url) = options.endpoints.ssm() {
            config = config.endpoint_url(url);
        }
        let ssm = aws_sdk_ssm::Client::from_conf(config.build());
        Ok(Self { options, credentials, ssm })
    }

    /// The keys to sign with, as they are now.
    async fn keys(&self) -> Result<aws_credential_types::Credentials, AwsError> {
        self.credentials.provide_credentials().await.map_err(|error| AwsError::credentials(&error))
    }
}

fn provider(options: &AwsOptions, http: SharedHttpClient) -> Result<SharedCredentialsProvider, AwsError> {
    let Credentials::Role { metadata } = &options.credentials else {
        return Ok(options.credentials.fixed());
    };
    let config = ProviderConfig::without_region().with_http_client(http);
    let client = MetadataClient::builder()
        .configure(&config)
        .endpoint(metadata)
        .map_err(|error| AwsError::Metadata { address: metadata.clone(), why: error.to_string() })?
        .connect_timeout(NEAR)
        .read_timeout(NEAR)
        .operation_timeout(options.timeout)
        .build();
    let provider = ImdsCredentialsProvider::builder().configure(&config).imds_client(client).build();
    Ok(SharedCredentialsProvider::new(provider))
}
