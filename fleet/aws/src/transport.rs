//! The one HTTP client: its connections are shared by all services, all regions and the search for credentials.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Makes connectors, one for each pair of (connect, read) timeouts that is asked for: the services all ask for
/// the same, IMDS for shorter ones.
#[derive(Debug)]
pub(crate) struct Transport {
    sts: Option<Arc<str>>,
    connectors: Mutex<HashMap<[Option<Duration>; 2], SharedHttpConnector>>,
}

impl Transport {
    /// * `sts`: where calls of STS go instead of to AWS, if anywhere. The SDK's chain of credentials takes no
    ///   such address by value.
    pub(crate) fn new(sts: Option<&str>) -> Self {
        Self { sts: sts.map(Arc::from), connectors: Mutex::default() }
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let key = [settings.connect_timeout(), settings.read_timeout()];
        // A panic elsewhere leaves nothing half done in here.
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let connector = connectors.entry(key).or_insert_with(|| {
            SharedHttpConnector::new(Routes {
                near: SharedHttpConnector::new(builder(settings).build_http()),
                far: OnceLock::new(),
                settings: settings.clone(),
                sts: self.sts.clone(),
            })
        });
        connector.clone()
    }
}

fn builder(settings: &HttpConnectorSettings) -> ConnectorBuilder {
    Connector::builder().connector_settings(settings.clone())
}

/// Chooses the way of a request.
#[derive(Debug)]
struct Routes {
    /// Plain HTTP to this host or its metadata service: never through a proxy.
    near: SharedHttpConnector,
    /// All else: TLS by rustls and ring, through the proxy that the environment names. Made when first needed,
    /// because reading the trusted certificates takes time and memory that a loopback cloud does not need.
    far: OnceLock<SharedHttpConnector>,
    settings: HttpConnectorSettings,
    sts: Option<Arc<str>>,
}

impl HttpConnector for Routes {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        if let Some(endpoint) = &self.sts
            && let Err(error) = redirect_sts(&mut request, endpoint)
        {
            return HttpConnectorFuture::ready(Err(error));
        }
        if is_near(request.uri()) { self.near.call(request) } else { self.far().call(request) }
    }
}

impl Routes {
    fn far(&self) -> &SharedHttpConnector {
        self.far.get_or_init(|| {
            let builder = builder(&self.settings).tls_provider(Provider::Rustls(CryptoMode::Ring));
            SharedHttpConnector::new(builder.proxy_config(ProxyConfig::from_env()).build())
        })
    }
}

/// Scheme, then host without its port and brackets.
fn scheme_and_host(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next()?,
        None => authority.split(':').next()?,
    };
    Some((scheme, host))
}

/// Whether a request stays on this host, or goes to the metadata services that only this host can reach.
fn is_near(uri: &str) -> bool {
    let Some(("http", host)) = scheme_and_host(uri) else { return false };
    match host.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        // fd00:ec2::/32 is where EC2 has its metadata service, and ECS and EKS their credentials.
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.segments()[..2] == [0xfd00, 0xec2],
        Err(_) => host == "localhost",
    }
}

/// Sends a request for AWS's STS to `endpoint`. It keeps the host in its header, because that was signed.
fn redirect_sts(request: &mut HttpRequest, endpoint: &str) -> Result<(), ConnectorError> {
    let host = match scheme_and_host(request.uri()) {
        Some((_, host)) if host.starts_with("sts.") && host.contains(".amazonaws.") => host.to_owned(),
        _ => return Ok(()),
    };
    if request.headers().get("host").is_none() {
        request.headers_mut().insert("host", host);
    }
    request.uri_mut().set_endpoint(endpoint).map_err(|error| ConnectorError::user(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_and_its_metadata_services_are_near() {
        for near in [
            "http://127.0.0.1:4566/",
            "http://localhost/x?y",
            "http://[::1]:80/",
            "http://169.254.169.254/latest/api/token",
            "http://169.254.170.2/v2/credentials",
            "http://[fd00:ec2::254]/latest",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in [
            "https://127.0.0.1/",
            "https://ec2.eu-west-1.amazonaws.com/",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://[fd00::1]/",
            "nonsense",
        ] {
            assert!(!is_near(far), "{far}");
        }
    }

    #[test]
    fn calls_of_sts_are_sent_elsewhere_with_the_host_that_they_were_signed_for() {
        let mut request = HttpRequest::get("https://sts.eu-west-1.amazonaws.com/").expect("a valid address");
        redirect_sts(&mut request, "http://127.0.0.1:4566").expect("a valid endpoint");
        assert_eq!(request.uri(), "http://127.0.0.1:4566/");
        assert_eq!(request.headers().get("host"), Some("sts.eu-west-1.amazonaws.com"));

        let mut other = HttpRequest::get("https://ec2.eu-west-1.amazonaws.com/").expect("a valid address");
        redirect_sts(&mut other, "http://127.0.0.1:4566").expect("a valid endpoint");
        assert_eq!(other.uri(), "https://ec2.eu-west-1.amazonaws.com/");
    }
}
