//! How AWS is reached: the region, other addresses than AWS's own, and the ports that the daemon works through.

use crate::exit::{Exit, Failure};
use autoscaler::{Connect, RegionPorts};
use fleet::Region;
use fleet::ports::{Answer, Clock};
use fleet_aws::{Aws, AwsConfig, Endpoints};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Where AWS is.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Where {
    /// Region of policies that name none; otherwise AWS's own configuration says (environment, profile, IMDS).
    #[arg(long)]
    region: Option<Region>,
    /// Address in place of AWS's own, for all services or for one: ec2, cloudwatch, application-autoscaling, sts.
    /// May be given several times.
    #[arg(long = "endpoint", value_name = "[SERVICE=]URL", value_parser = Endpoint::parse)]
    endpoints: Vec<Endpoint>,
}

/// The services that can be elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    All,
    Ec2,
    Cloudwatch,
    ApplicationAutoscaling,
    Sts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    service: Service,
    url: String,
}

impl Endpoint {
    fn parse(text: &str) -> Result<Self, String> {
        let (service, url) = match text.split_once('=') {
            // A query may hold an equals sign; a scheme comes before it.
            Some((service, url)) if !service.contains(':') => (service, url),
            _ => ("", text),
        };
        let service = match service {
            "" => Service::All,
            "ec2" => Service::Ec2,
            "cloudwatch" => Service::Cloudwatch,
            "application-autoscaling" => Service::ApplicationAutoscaling,
            "sts" => Service::Sts,
            other => {
                return Err(format!(
                    "{other:?} is no service that is used: ec2, cloudwatch, application-autoscaling, sts"
                ));
            }
        };
        match reqwest::Url::parse(url) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
                Ok(Self { service, url: url.to_owned() })
            }
            _ => Err(format!("{url:?} is no address such as http://127.0.0.1:4566")),
        }
    }
}

impl Where {
    /// The region of policies that name none.
    ///
    /// * `needed`: whether there are such policies; AWS's own configuration is asked only then, for its last
    ///   resort is a metadata service that may be far away.
    pub async fn region(&self, needed: bool) -> Result<Option<Region>, Failure> {
        if self.region.is_some() || !needed {
            return Ok(self.region.clone());
        }
        let region = fleet_aws::default_region().await;
        let missing = || {
            Failure::new(
                Exit::Configuration,
                "a policy names no region, nor does AWS's own configuration: give --region, or `region` in the policy",
            )
        };
        region.map(Some).ok_or_else(missing)
    }

    /// The ports of every region, over the AWS SDK.
    pub fn connect(&self) -> AwsPorts {
        let mut endpoints = Endpoints::default();
        for Endpoint { service, url } in &self.endpoints {
            let slot = match service {
                Service::All => &mut endpoints.all,
                Service::Ec2 => &mut endpoints.ec2,
                Service::Cloudwatch => &mut endpoints.cloudwatch,
                Service::ApplicationAutoscaling => &mut endpoints.application_autoscaling,
                Service::Sts => &mut endpoints.sts,
            };
            *slot = Some(url.clone());
        }
        AwsPorts { endpoints, first: OnceCell::new() }
    }
}

/// AWS's regions, connected when they are first needed; they share credentials and connections.
pub struct AwsPorts {
    endpoints: Endpoints,
    first: OnceCell<Aws>,
}

impl Connect for AwsPorts {
    fn connect<'a>(&'a self, region: &'a Region, clock: Arc<dyn Clock>) -> Answer<'a, RegionPorts> {
        Box::pin(async move {
            let connect = || {
                let config = AwsConfig {
                    endpoints: self.endpoints.clone(),
                    // The one use of chance in the program: processes must not retry in step.
                    seed: RandomState::new().hash_one(std::process::id()),
                    ..AwsConfig::new(region.clone())
                };
                Aws::connect(config, clock)
            };
            let aws = Arc::new(self.first.get_or_init(connect).await.for_region(region));
            Ok(RegionPorts { cloud: Arc::<Aws>::clone(&aws), metrics: aws })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_for_all_services_or_for_one() {
        let endpoint = |service, url: &str| Ok(Endpoint { service, url: url.to_owned() });
        assert_eq!(Endpoint::parse("http://127.0.0.1:4566"), endpoint(Service::All, "http://127.0.0.1:4566"));
        assert_eq!(
            Endpoint::parse("ec2=https://ec2.internal"),
            endpoint(Service::Ec2, "https://ec2.internal")
        );
        assert_eq!(Endpoint::parse("http://proxy/?to=ec2"), endpoint(Service::All, "http://proxy/?to=ec2"));
        for wrong in ["s3=http://x", "ec2=", "ec2", "ftp://x", "http://", "127.0.0.1:4566"] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn a_service_s_own_address_stands_beside_the_common_one() {
        let parse = |text| Endpoint::parse(text).expect(text);
        let place = Where { region: None, endpoints: vec![parse("http://a"), parse("sts=http://b")] };
        let AwsPorts { endpoints, .. } = place.connect();
        assert_eq!(endpoints, Endpoints { sts: Some("http://b".into()), ..Endpoints::all("http://a") });
    }
}
