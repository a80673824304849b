//! The daemon's way to the loopback cloud, for whoever runs it in the same process.

use autoscaler::{Connect, RegionPorts};
use fleet::Region;
use fleet::ports::{Answer, Clock};
use fleet_aws::{Aws, AwsConfig, Credentials, Endpoints, Secret};
use std::sync::Arc;

/// Connects the daemon to the cloud on loopback, by the SDK.
pub struct Loopback {
    /// Where it is.
    pub endpoint: String,
}

impl Connect for Loopback {
    fn connect<'a>(&'a self, region: &'a Region, clock: Arc<dyn Clock>) -> Answer<'a, RegionPorts> {
        Box::pin(async move {
            let config = AwsConfig {
                endpoints: Endpoints::all(self.endpoint.clone()),
                credentials: Credentials::Static {
                    access_key_id: "muster".to_owned(),
                    secret_access_key: Secret::new("muster-secret"),
                },
                ..AwsConfig::new(region.clone())
            };
            let aws = Arc::new(Aws::connect(config, clock).await);
            Ok(RegionPorts { cloud: Arc::<Aws>::clone(&aws), metrics: aws })
        })
    }
}
