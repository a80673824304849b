//! Signature Version 4, by AWS's own crate.

use crate::{Aws, AwsError};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bootstrap_core::Secret;
use fleet::Timestamp;
use std::time::{Duration, UNIX_EPOCH};

/// The header that binds a signature to one Vault, so that nobody can use it at another.
const SERVER_ID: &str = "X-Vault-AWS-IAM-Server-ID";
/// What is asked of STS.
const QUESTION: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// The one global endpoint of STS, and the region that it is signed for.
const GLOBAL: (&str, &str) = ("https://sts.amazonaws.com/", "us-east-1");

/// Where and for whom the question who we are is signed. The default is what Vault takes unless it is told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerIdentity {
    /// The region that it is signed for; `us-east-1` without. It must be that of the STS which Vault asks.
    pub region: Option<String>,
    /// The address that it is signed for, with a slash at its end; without, `https://sts.amazonaws.com/`, or with a
    /// region, that region's (`https://sts.eu-west-1.amazonaws.com/`). Vault sends it to its own `sts_endpoint` all the
    /// same: only the host in it counts, since that is signed.
    pub endpoint: Option<String>,
    /// What Vault has as `iam_server_id_header_value`; signed as the header `X-Vault-AWS-IAM-Server-ID`.
    pub server_id: Option<String>,
}

/// A request that is signed, for somebody else to send. Good for five minutes.
#[derive(Clone, Debug)]
pub struct SignedRequest {
    /// `POST`.
    pub method: &'static str,
    /// Where to, without a query.
    pub url: String,
    /// The body.
    pub body: String,
    /// All headers but `Host`, which the URL has. The signature and the session's token are among them.
    pub headers: Vec<(String, Secret)>,
}

impl CallerIdentity {
    fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(GLOBAL.1)
    }

    fn url(&self) -> String {
        match (&self.endpoint, &self.region) {
            (Some(endpoint), _) => format!("{}/", endpoint.trim_end_matches('/')),
            (None, None) => GLOBAL.0.to_owned(),
            (None, Some(region)) => {
                let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                format!("https://sts.{region}.{suffix}/")
            }
        }
    }
}

impl Aws {
    /// Signs the question who we are (STS's GetCallerIdentity), with the role's session token.
    ///
    /// * `at`: the host's wall time; STS refuses what is off by more than five minutes.
    ///
    /// Asks the metadata service for the role's keys, and nobody else.
    pub async fn sign_caller_identity(
        &self,
        whom: &CallerIdentity,
        at: Timestamp,
    ) -> Result<SignedRequest, AwsError> {
        let keys = self.keys().await?;
        let mut headers = vec![("Content-Type", FORM)];
        if let Some(server_id) = &whom.server_id {
            headers.push((SERVER_ID, server_id));
        }
        let request =
            Unsigned { service: "sts", region: whom.region(), url: &whom.url(), headers, body: QUESTION };
        request.sign(keys, at)
    }
}

/// A POST that is to be signed.
pub(crate) struct Unsigned<'a> {
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) url: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: &'a str,
}

impl Unsigned<'_> {
    /// Signs it: all its headers, its host and its body.
    pub(crate) fn sign(self, keys: Credentials, at: Timestamp) -> Result<SignedRequest, AwsError> {
        let wrong = |why: String| AwsError::Sign { url: self.url.to_owned(), why };
        let identity = keys.into();
        let since = Duration::from_millis(u64::try_from(at.millis()).unwrap_or(0));
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(UNIX_EPOCH + since)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| wrong(error.to_string()))?
            .into();
        let body = SignableBody::Bytes(self.body.as_bytes());
        let request = SignableRequest::new("POST", self.url, self.headers.iter().copied(), body)
            .map_err(|error| wrong(error.to_string()))?;
        let signed = sign(request, &params).map_err(|error| wrong(error.to_string()))?;
        let (instructions, _) = signed.into_parts();
        let own = self.headers.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value)));
        let added = instructions.headers().map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let headers = own.chain(added).collect();
        Ok(SignedRequest { method: "POST", url: self.url.to_owned(), body: self.body.to_owned(), headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_follows_the_region_unless_it_is_named() {
        let region =
            |region: &str| CallerIdentity { region: Some(region.into()), ..CallerIdentity::default() };
        assert_eq!(CallerIdentity::default().url(), "https://sts.amazonaws.com/");
        assert_eq!(CallerIdentity::default().region(), "us-east-1");
        assert_eq!(region("eu-west-1").url(), "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(region("cn-north-1").url(), "https://sts.cn-north-1.amazonaws.com.cn/");
        let named =
            CallerIdentity { endpoint: Some("https://sts.example.com".into()), ..region("eu-west-1") };
        assert_eq!((named.url().as_str(), named.region()), ("https://sts.example.com/", "eu-west-1"));
    }

    #[test]
    fn the_server_id_and_the_session_s_token_are_signed_and_none_of_it_shows() {
        let keys = Credentials::new("AKID", "planted-key", Some("planted-token".into()), None, "test");
        let headers = vec![("Content-Type", FORM), (SERVER_ID, "vault.example.com")];
        let request = Unsigned { service: "sts", region: GLOBAL.1, url: GLOBAL.0, headers, body: QUESTION };
        let signed = request.sign(keys, Timestamp::from_secs(1_767_225_600)).expect("it can be signed");
        let header = |name: &str| {
            signed.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.expose())
        };
        let authorization = header("Authorization").expect("a signature");
        assert!(
            authorization.contains("Credential=AKID/20260101/us-east-1/sts/aws4_request"),
            "{authorization}"
        );
        let names = "content-type;host;x-amz-date;x-amz-security-token;x-vault-aws-iam-server-id";
        assert!(authorization.contains(&format!("SignedHeaders={names}")), "{authorization}");
        assert_eq!(header("x-amz-security-token"), Some("planted-token"));
        assert_eq!(header("x-amz-date"), Some("20260101T000000Z"));
        assert!(!format!("{signed:?}").contains("planted"), "{signed:?}");
    }
}
