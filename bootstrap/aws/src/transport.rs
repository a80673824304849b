//! The HTTP client of the SDK: which way a request goes, and how much of an answer is read.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The most of an answer that is read. Ten parameters of 8 KiB, in JSON's escapes, are far below.
const MOST_BYTES: usize = 1024 * 1024;

/// Makes connectors, one for each pair of (connect, read) timeouts that is asked for.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    connectors: Mutex<HashMap<[Option<Duration>; 2], SharedHttpConnector>>,
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
    /// because reading the trusted certificates takes time and memory.
    far: OnceLock<SharedHttpConnector>,
    settings: HttpConnectorSettings,
}

impl HttpConnector for Routes {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sent = if is_near(request.uri()) { self.near.call(request) } else { self.far().call(request) };
        HttpConnectorFuture::new(async move {
            Ok(sent.await?.map(|body| SdkBody::from_body_1_x(Limited::new(body, MOST_BYTES))))
        })
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

/// Whether a request stays on this host, or goes to the metadata services that only this host can reach.
pub(crate) fn is_near(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    match host.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        // fd00:ec2::/32 is where EC2 has its metadata service.
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.segments()[..2] == [0xfd00, 0xec2],
        Err(_) => host == "localhost",
    }
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
            "http://[fd00:ec2::254]/latest",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in [
            "https://127.0.0.1/",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://[fd00::1]/",
            "nonsense",
        ] {
            assert!(!is_near(far), "{far}");
        }
    }
}
