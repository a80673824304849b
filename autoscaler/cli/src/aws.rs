//! How AWS is reached: the region, other addresses than AWS's own, and the ports that the daemon works through.

use autoscaler::{Connect, QueueSource, RegionPorts};
use fleet::ports::{Answer, Clock, MayWrite};
use fleet::{InstanceId, Region};
use fleet_aws::{Aws, AwsConfig, Endpoints, Guard};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use tokio::sync::OnceCell;

/// Where AWS is.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Where {
    /// Region of policies that name none; otherwise AWS's own configuration says (environment, profile, IMDS).
    #[arg(long)]
    region: Option<Region>,
    /// Address in place of AWS's own, for all services or for one: ec2, cloudwatch, application-autoscaling, sqs, sts.
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
    Sqs,
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
            "sqs" => Service::Sqs,
            "sts" => Service::Sts,
            other => {
                return Err(format!(
                    "{other:?} is no service that is used: ec2, cloudwatch, application-autoscaling, sqs, sts"
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

    fn is_loopback(&self) -> bool {
        let host = reqwest::Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        host.is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        })
    }
}

/// How this host's metadata service is asked, as AWS's own variables say.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Metadata {
    /// `true`: it is not asked at all.
    #[arg(long = "metadata-disabled", env = "AWS_EC2_METADATA_DISABLED", hide = true, value_name = "BOOL")]
    disabled: Option<String>,
    /// Where it is, when not where EC2 has it.
    #[arg(
        long = "metadata-endpoint",
        env = "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        hide = true,
        value_name = "URL"
    )]
    endpoint: Option<String>,
}

impl Where {
    /// The region that policies without one are in, where the command line says so. Otherwise AWS's own
    /// configuration is asked once such a policy is loaded: see [`Connect::default_region`].
    pub fn region(&self) -> Option<Region> {
        self.region.clone()
    }

    /// The instance that this process runs on, as its metadata service says; `None` off EC2, and where that
    /// service is not to be asked.
    pub async fn own_instance(&self, metadata: &Metadata) -> Option<InstanceId> {
        if !self.has_metadata(metadata) {
            return None;
        }
        fleet_aws::own_instance().await
    }

    /// Whether a metadata service is worth asking. A cloud on this host's loopback knows nothing of the instance
    /// that we may run on, unless it says that it does.
    fn has_metadata(&self, Metadata { disabled, endpoint }: &Metadata) -> bool {
        let off = disabled.as_ref().is_some_and(|word| word.trim().eq_ignore_ascii_case("true"));
        !off && (endpoint.is_some() || !self.endpoints.iter().any(Endpoint::is_loopback))
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
                Service::Sqs => &mut endpoints.sqs,
                Service::Sts => &mut endpoints.sts,
            };
            *slot = Some(url.clone());
        }
        AwsPorts { endpoints, first: OnceCell::new(), region: OnceCell::new(), guard: Arc::default() }
    }
}

/// AWS's regions, connected when they are first needed; they share credentials and connections.
pub struct AwsPorts {
    endpoints: Endpoints,
    first: OnceCell<Aws>,
    /// What AWS's own configuration said, once it said something: fleets do not move when a profile is edited.
    region: OnceCell<Region>,
    /// Whether writes may be begun, once somebody says that this can change.
    guard: Arc<OnceLock<MayWrite>>,
}

impl AwsPorts {
    /// One region; all share credentials and connections.
    async fn region(&self, region: &Region, clock: Arc<dyn Clock>) -> Aws {
        let connect = || {
            // Told later, and asked at each attempt.
            let guard = Arc::clone(&self.guard);
            let may_write: MayWrite = Arc::new(move || guard.get().is_none_or(|may_write| may_write()));
            let config = AwsConfig {
                endpoints: self.endpoints.clone(),
                guard: Guard(Some(may_write)),
                // Chance, so that processes do not retry in step.
                seed: RandomState::new().hash_one(std::process::id()),
                ..AwsConfig::new(region.clone())
            };
            Aws::connect(config, clock)
        };
        self.first.get_or_init(connect).await.for_region(region)
    }

    /// The queues at these addresses. An address names its region, unless it is a loopback's: then `otherwise` is it.
    pub async fn queues(
        &self,
        urls: &[String],
        otherwise: Option<&Region>,
        clock: Arc<dyn Clock>,
    ) -> Result<Vec<QueueSource>, String> {
        let mut sources = Vec::with_capacity(urls.len());
        for url in urls {
            let region = region_of_queue(url).or_else(|| otherwise.cloned());
            let region = region.ok_or_else(|| {
                format!("{url} does not say its region (https://sqs.REGION.amazonaws.com/ACCOUNT/NAME): give --region")
            })?;
            let queue = self.region(&region, Arc::clone(&clock)).await.queue(url);
            let name = url.rsplit('/').next().unwrap_or(url).to_owned();
            sources.push(QueueSource { name, region, queue: Arc::new(queue) });
        }
        Ok(sources)
    }
}

/// The region in the address of one of AWS's queues.
fn region_of_queue(url: &str) -> Option<Region> {
    let host = reqwest::Url::parse(url).ok()?.host_str()?.to_owned();
    let rest = host.strip_prefix("sqs.")?;
    let (region, domain) = rest.split_once('.')?;
    domain.starts_with("amazonaws.com").then(|| region.into())
}

impl Connect for AwsPorts {
    fn connect<'a>(&'a self, region: &'a Region, clock: Arc<dyn Clock>) -> Answer<'a, RegionPorts> {
        Box::pin(async move {
            let aws = Arc::new(AwsPorts::region(self, region, clock).await);
            Ok(RegionPorts { cloud: Arc::<Aws>::clone(&aws), metrics: aws })
        })
    }

    fn guard(&self, may_write: MayWrite) {
        // It is told once.
        let _ = self.guard.set(may_write);
    }

    fn default_region(&self) -> Answer<'_, Option<Region>> {
        Box::pin(async move {
            let found =
                self.region.get_or_try_init(async || fleet_aws::default_region().await.ok_or(())).await;
            Ok(found.ok().cloned())
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
    fn a_queue_of_aws_says_its_region() {
        let region = |url| region_of_queue(url);
        assert_eq!(
            region("https://sqs.eu-west-1.amazonaws.com/123456789012/muster"),
            Some("eu-west-1".into())
        );
        assert_eq!(region("https://sqs.cn-north-1.amazonaws.com.cn/1/m"), Some("cn-north-1".into()));
        for other in ["http://127.0.0.1:4566/1/m", "https://sqs.evil.example/1/m", "muster"] {
            assert_eq!(region(other), None, "{other}");
        }
    }

    #[test]
    fn metadata_is_not_asked_where_it_is_off_or_the_cloud_is_on_loopback() {
        let metadata = |disabled: Option<&str>, endpoint: Option<&str>| Metadata {
            disabled: disabled.map(str::to_owned),
            endpoint: endpoint.map(str::to_owned),
        };
        for (endpoint, metadata, asked) in [
            (None, metadata(None, None), true),
            (None, metadata(Some("false"), None), true),
            (None, metadata(Some("True"), Some("http://127.0.0.1:1")), false),
            (Some("http://ec2.internal"), metadata(None, None), true),
            (Some("http://127.0.0.1:4566"), metadata(None, None), false),
            (Some("ec2=http://[::1]:4566"), metadata(None, None), false),
            (Some("http://localhost:4566"), metadata(None, None), false),
            (Some("http://127.0.0.1:4566"), metadata(None, Some("http://127.0.0.1:1")), true),
        ] {
            let endpoints = endpoint.map(|text| Endpoint::parse(text).expect(text)).into_iter().collect();
            let place = Where { region: None, endpoints };
            assert_eq!(place.has_metadata(&metadata), asked, "{endpoint:?} {metadata:?}");
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
