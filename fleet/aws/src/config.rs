//! What a connection to AWS is made of. Every value has a default that is right for AWS itself.

use fleet::Region;
use fleet::ports::MayWrite;
use std::fmt;
use std::time::Duration;

/// How to reach AWS. Start from [`AwsConfig::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct AwsConfig {
    /// The region that [`crate::Aws::connect`] answers for; [`crate::Aws::for_region`] makes others.
    pub region: Region,
    /// Other addresses than AWS's own, a service each.
    pub endpoints: Endpoints,
    /// What AWS's logs show behind `app/` in the user agent; characters that may not stand there become `-`.
    pub app_name: String,
    /// Who signs.
    pub credentials: Credentials,
    /// How much of AWS's documented rates may be used.
    pub budget: Budget,
    /// How long a call may take.
    pub timeouts: Timeouts,
    /// Seeds the jitter of retries, so that a simulated run repeats to the bit. Give every process its own.
    pub seed: u64,
    /// Whether writes may be begun, where that can change.
    pub guard: Guard,
}

/// FENCE: says whether an attempt at a write may be begun. The default always does.
#[derive(Clone, Default)]
pub struct Guard(pub Option<MayWrite>);

impl Guard {
    pub(crate) fn may_write(&self) -> bool {
        self.0.as_ref().is_none_or(|may_write| may_write())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Guard(..)" } else { "Guard" })
    }
}

impl AwsConfig {
    /// AWS itself, with the credentials that the surroundings provide.
    pub fn new(region: Region) -> Self {
        Self {
            region,
            endpoints: Endpoints::default(),
            app_name: concat!("muster-", env!("CARGO_PKG_VERSION")).to_owned(),
            credentials: Credentials::default(),
            budget: Budget::default(),
            timeouts: Timeouts::default(),
            seed: 0,
            guard: Guard::default(),
        }
    }
}

/// Addresses in place of AWS's own (`http://127.0.0.1:4566`), for a loopback cloud or a private link.
///
/// A service's own address comes before `all`. Without either, `AWS_ENDPOINT_URL` and
/// `AWS_ENDPOINT_URL_<SERVICE>` of the environment hold, then AWS's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// For every service that has none of its own here.
    pub all: Option<String>,
    /// EC2.
    pub ec2: Option<String>,
    /// CloudWatch.
    pub cloudwatch: Option<String>,
    /// Application Auto Scaling.
    pub application_autoscaling: Option<String>,
    /// SQS. Where a queue's URL points does not matter.
    pub sqs: Option<String>,
    /// SSM: the parameters of channels.
    pub ssm: Option<String>,
    /// STS: where web identities and roles are turned into credentials.
    pub sts: Option<String>,
}

impl Endpoints {
    /// One address for every service.
    pub fn all(url: impl Into<String>) -> Self {
        Self { all: Some(url.into()), ..Self::default() }
    }
    pub(crate) fn ec2(&self) -> Option<&str> {
        self.ec2.as_deref().or(self.all.as_deref())
    }
    pub(crate) fn cloudwatch(&self) -> Option<&str> {
        self.cloudwatch.as_deref().or(self.all.as_deref())
    }
    pub(crate) fn application_autoscaling(&self) -> Option<&str> {
        self.application_autoscaling.as_deref().or(self.all.as_deref())
    }
    pub(crate) fn sqs(&self) -> Option<&str> {
        self.sqs.as_deref().or(self.all.as_deref())
    }
    pub(crate) fn ssm(&self) -> Option<&str> {
        self.ssm.as_deref().or(self.all.as_deref())
    }
    pub(crate) fn sts(&self) -> Option<&str> {
        self.sts.as_deref().or(self.all.as_deref())
    }
}

/// Who signs the calls.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// The SDK's chain: environment, profile, web identity, ECS, IMDS. Renewed by itself.
    #[default]
    Chain,
    /// A key that is known, for a loopback cloud. Nothing outside is asked.
    Static {
        /// `AKIA…`.
        access_key_id: String,
        /// What goes with it.
        secret_access_key: Secret,
    },
}

/// A text that `Debug` does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// How much of AWS's documented request rates may be used (invariant PACE). They are per account and region,
/// and others in the account need them too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// A share of both the bucket and its refill, above 0 and at most 1; what lies outside is taken as the
    /// nearest bound. Half by default: a second autoscaler, or a deploy, fits beside.
    pub share: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { share: 0.5 }
    }
}

/// How long things may take.
///
/// `connect` and the attempts are bounded in the host's time, because they wait for real sockets; the
/// deadlines are kept on the [`fleet::ports::Clock`], as every other wait is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To a connection, TLS included.
    pub connect: Duration,
    /// From sending a read to its whole answer.
    pub read_attempt: Duration,
    /// From sending a write to its whole answer.
    pub write_attempt: Duration,
    /// For a read with its retries and its waits for the budget; a page each.
    pub read_deadline: Duration,
    /// For a write with its retries: a writer must be sure of its end soon.
    pub write_deadline: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            // EC2 answers a page of 1000 instances in 1 to 3 s.
            read_attempt: Duration::from_secs(10),
            write_attempt: Duration::from_secs(5),
            read_deadline: Duration::from_secs(30),
            write_deadline: Duration::from_secs(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_s_own_address_comes_before_the_common_one() {
        let endpoints = Endpoints { ec2: Some("http://a".into()), ..Endpoints::all("http://b") };
        assert_eq!((endpoints.ec2(), endpoints.sts()), (Some("http://a"), Some("http://b")));
        assert_eq!(Endpoints::default().cloudwatch(), None);
    }

    #[test]
    fn a_secret_does_not_show_in_debug() {
        let mut config = AwsConfig::new("eu-west-1".into());
        config.credentials =
            Credentials::Static { access_key_id: "AKID".into(), secret_access_key: Secret::new("s3cret") };
        let shown = format!("{config:?}");
        assert!(shown.contains("AKID") && !shown.contains("s3cret"), "{shown}");
    }
}
