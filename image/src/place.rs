//! Where AWS is, and what an attempt is called.

use crate::exit::{Exit, Failure, Outcome};
use clap::Args;
use fleet::Region;
use fleet::ports::Clock;
use fleet_aws::{Aws, AwsConfig, Endpoints};
use fleet_clock::SystemClock;
use muster_image::channel::Channel;
use std::future::Future;
use std::sync::Arc;

/// Where AWS is.
#[derive(Clone, Debug, Default, Args)]
pub struct Where {
    /// Region; otherwise AWS's own configuration says (environment, profile, IMDS).
    #[arg(long)]
    region: Option<Region>,
    /// Address in place of AWS's own, of EC2, SSM and STS.
    #[arg(long, value_name = "URL", value_parser = url)]
    endpoint: Option<String>,
}

fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no address such as http://127.0.0.1:4566")),
    }
}

impl Where {
    /// The region that the command line names.
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }
    /// The address that the command line names.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }
    /// A region, and an address where AWS's own is not meant.
    pub const fn at(region: Region, endpoint: Option<String>) -> Self {
        Self { region: Some(region), endpoint }
    }
    /// The account, over the AWS SDK. Nothing is asked of it yet.
    pub async fn connect(&self, clock: Arc<dyn Clock>) -> Result<Aws, Failure> {
        let region = match &self.region {
            Some(region) => region.clone(),
            None => fleet_aws::default_region()
                .await
                .ok_or_else(|| Failure::new(Exit::Configuration, "no region: say --region, or AWS_REGION"))?,
        };
        let app_name = concat!("muster-image-", env!("CARGO_PKG_VERSION")).to_owned();
        let seed = u64::from_le_bytes(random()?);
        let mut config = AwsConfig { app_name, seed, ..AwsConfig::new(region) };
        if let Some(url) = &self.endpoint {
            config.endpoints = Endpoints::all(url);
        }
        Ok(Aws::connect(config, clock).await)
    }
}

/// Where channels are kept.
#[derive(Clone, Debug, Args)]
pub struct Channels {
    /// The path of the channels' parameters.
    #[arg(long, value_name = "PATH", default_value = "/muster/images", value_parser = path)]
    prefix: String,
}

fn path(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    if text.starts_with('/') && text.len() > 1 && text.len() < 512 && text.chars().all(legal) {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("a path begins with a slash, and is made of letters, digits, and ._-/".to_owned())
    }
}

impl Channels {
    /// The path of them all.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
    /// The channel of a name.
    pub fn channel(&self, name: &str) -> Result<Channel, Failure> {
        Channel::new(&self.prefix, name).map_err(|error| Failure::new(Exit::Usage, error))
    }
}

/// A text that no other attempt has.
pub fn attempt() -> Result<String, Failure> {
    Ok(hex::encode(random::<16>()?))
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Exit::Bug, format_args!("failed to draw random bytes: {error}")))?;
    Ok(bytes)
}

/// Runs a command to its end, with the host's clock.
pub fn block_on<F: Future<Output = Outcome>>(command: impl FnOnce(Arc<dyn Clock>) -> F) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because(Exit::TryAgain, "start the runtime", error))?;
    runtime.block_on(command(Arc::new(SystemClock::new())))
}
