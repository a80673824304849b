//! How AWS is reached.

use aws_credential_types::provider::SharedCredentialsProvider;
use bootstrap_core::Secret;
use std::time::Duration;

/// Where EC2 has the metadata service of an instance.
pub(crate) const METADATA: &str = "http://169.254.169.254";

/// How AWS is reached. Start from [`AwsOptions::new`], and change what differs.
#[derive(Clone, Debug)]
pub struct AwsOptions {
    /// The node's region.
    pub region: String,
    /// Other addresses than AWS's own.
    pub endpoints: Endpoints,
    /// Who signs.
    pub credentials: Credentials,
    /// The longest wait for a connection, TLS included. 3 s by default.
    pub connect_timeout: Duration,
    /// The longest that one call may take, a page each; also the search for credentials. 10 s by default.
    pub timeout: Duration,
}

impl AwsOptions {
    /// AWS itself, signed for by the instance's role.
    pub fn new(region: impl Into<String>) -> Self {
        Self {
            region: region.into(),
            endpoints: Endpoints::default(),
            credentials: Credentials::default(),
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Addresses in place of AWS's own (`https://vpce-1.ssm.eu-west-1.vpce.amazonaws.com`), for a private link or a
/// loopback cloud. A service's own comes before `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// For every service that has none of its own here, but STS: see [`crate::CallerIdentity::endpoint`].
    pub all: Option<String>,
    /// Systems Manager's Parameter Store.
    pub ssm: Option<String>,
    /// EC2.
    pub ec2: Option<String>,
}

impl Endpoints {
    /// One address for every service.
    pub fn all(url: impl Into<String>) -> Self {
        Self { all: Some(url.into()), ..Self::default() }
    }
    pub(crate) fn ssm(&self) -> Option<&str> {
        self.ssm.as_deref().or(self.all.as_deref())
    }
    pub(crate) fn ec2(&self) -> Option<&str> {
        self.ec2.as_deref().or(self.all.as_deref())
    }
}

/// Who signs.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The instance's role.
    Role {
        /// Where the metadata service is; `http://169.254.169.254` by default, `http://[fd00:ec2::254]` by IPv6.
        metadata: String,
    },
    /// A key that is known, for a loopback cloud. Nobody is asked.
    Static {
        /// `AKIA…`.
        access_key_id: String,
        /// What goes with it.
        secret_access_key: Secret,
        /// Where the key is a temporary one.
        session_token: Option<Secret>,
    },
}

impl Default for Credentials {
    fn default() -> Self {
        Self::Role { metadata: METADATA.to_owned() }
    }
}

impl Credentials {
    /// The key that is known; nothing where there is none.
    pub(crate) fn fixed(&self) -> SharedCredentialsProvider {
        let (id, secret, token) = match self {
            Self::Static { access_key_id, secret_access_key, session_token } => {
                (access_key_id.as_str(), secret_access_key.expose(), session_token.as_ref())
            }
            Self::Role { .. } => ("", "", None),
        };
        let token = token.map(|token| token.expose().to_owned());
        SharedCredentialsProvider::new(aws_credential_types::Credentials::new(
            id, secret, token, None, "muster",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_s_own_address_comes_first_and_keys_do_not_show() {
        let endpoints = Endpoints { ssm: Some("http://a".into()), ..Endpoints::all("http://b") };
        assert_eq!((endpoints.ssm(), endpoints.ec2()), (Some("http://a"), Some("http://b")));
        let mut options = AwsOptions::new("eu-west-1");
        options.credentials = Credentials::Static {
            access_key_id: "AKID".into(),
            secret_access_key: Secret::new("planted-key"),
            session_token: Some(Secret::new("planted-token")),
        };
        let shown = format!("{options:?} {:?}", options.credentials.fixed());
        assert!(shown.contains("AKID") && !shown.contains("planted"), "{shown}");
    }
}
