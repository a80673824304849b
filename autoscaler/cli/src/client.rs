//! Asking a running daemon over HTTP.

use crate::exit::{Exit, Failure, OrExit};
use autoscaler::http::api::ErrorBody;
use clap::Args;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;

/// The daemon is on this host or near it, and answers from memory.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the daemon is.
#[derive(Clone, Debug, Args)]
pub struct Address {
    /// Address of the running daemon.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7575", env = "MUSTER_ADDRESS")]
    pub address: Url,
    /// Certificates to trust in PEM, for a daemon that is served over TLS; without them those that this host trusts.
    #[arg(long, value_name = "FILE", env = "MUSTER_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Who gives an order, and how the daemon knows them.
#[derive(Clone, Debug, Args)]
pub struct Operator {
    /// Why; it is journaled and shown in `status`.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who says so.
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    pub by: String,
    /// File with the operator token, for a daemon that asks for one (`run --operator-token-file`).
    #[arg(long, value_name = "FILE", env = "MUSTER_OPERATOR_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

/// A daemon that answers.
pub struct Daemon {
    client: Client,
    address: Url,
    token: Option<String>,
}

impl Daemon {
    /// The daemon at `address`. Connects to nothing yet.
    ///
    /// * `token_file`: whose first line is sent as a bearer token.
    pub fn new(address: &Address, token_file: Option<&PathBuf>) -> Result<Self, Failure> {
        let token = match token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .or_exit(Exit::Configuration, format_args!("read the token file {}", path.display()))?;
                text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
            }
            None => None,
        };
        let mut builder = autoscaler::tls::client(address.address.scheme() == "https");
        if let Some(path) = &address.ca_file {
            let certificates = std::fs::read(path)
                .or_exit(Exit::Configuration, format_args!("read the certificates {}", path.display()))?;
            let certificates = Certificate::from_pem_bundle(&certificates)
                .or_exit(Exit::Configuration, format_args!("read the certificates {}", path.display()))?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder
            .timeout(TIMEOUT)
            // A token is for the host that it was meant for.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("muster-autoscaler/", env!("CARGO_PKG_VERSION")))
            .build()
            .or_exit(Exit::Bug, "prepare the HTTP client")?;
        Ok(Self { client, address: address.address.clone(), token })
    }

    /// Reads something.
    ///
    /// * `path`: segments below the address, taken literally.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(self.client.get(self.url(path)?).query(query)).await
    }

    /// Gives an order.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(self.client.post(self.url(path)?).json(body)).await
    }

    fn url(&self, path: &[&str]) -> Result<Url, Failure> {
        let mut url = self.address.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path),
            Err(()) => {
                return Err(Failure::new(
                    Exit::Usage,
                    format_args!("{} is no address of a daemon", self.address),
                ));
            }
        };
        Ok(url)
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let asked = format!("ask the daemon at {} (is `muster-autoscaler run` running there?)", self.address);
        let response =
            request.send().await.map_err(reqwest::Error::without_url).or_exit(Exit::Unavailable, &asked)?;
        let status = response.status();
        let body =
            response.bytes().await.map_err(reqwest::Error::without_url).or_exit(Exit::Unavailable, asked)?;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body)
            .or_exit(Exit::Unavailable, "understand the daemon (is it of another version?)")
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let exit = match status.as_u16() {
        401 | 403 => Exit::Denied,
        // What is too large was typed as well: 413.
        400 | 404 | 413 | 422 => Exit::Usage,
        408 | 429 | 503 => Exit::TryAgain,
        _ => Exit::Unavailable,
    };
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { error }) => Failure::new(exit, error),
        Err(_) => Failure::new(exit, format_args!("the daemon answered {status}")),
    }
}

/// Runs a command that waits for the network.
pub fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_exit(Exit::Unavailable, "start the runtime")?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_with_what_whoever_asked_can_do_about_it() {
        for (status, exit) in [
            (400, Exit::Usage),
            (401, Exit::Denied),
            (403, Exit::Denied),
            (404, Exit::Usage),
            (408, Exit::TryAgain),
            (413, Exit::Usage),
            (422, Exit::Usage),
            (429, Exit::TryAgain),
            (500, Exit::Unavailable),
            (503, Exit::TryAgain),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(refusal(status, b"").exit, exit, "{status}");
        }
    }
}
