//! Asking a running daemon over HTTP.

use crate::exit::{Exit, Failure, OrExit};
use autoscaler::http::api::ErrorBody;
use clap::Args;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The daemon is on this host or near it, and answers from memory.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For who it is among several: one that has gone keeps nobody waiting for the others.
const LEADS_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the daemon is.
#[derive(Clone, Debug, Args)]
pub struct Address {
    /// Address of the running daemon. Where the name stands for several, as Consul's does, the one that leads is asked.
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

/// A daemon that answers: of several that its address's name stands for, the one that leads, which alone takes orders.
pub struct Daemon {
    address: Url,
    token: Option<String>,
    certificates: Option<Vec<Certificate>>,
    /// Made when something is first asked.
    client: OnceCell<Client>,
}

/// What says who leads.
#[derive(Deserialize)]
struct Leads {
    leads: bool,
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
        let certificates = match &address.ca_file {
            Some(path) => {
                let certificates = std::fs::read(path)
                    .or_exit(Exit::Configuration, format_args!("read the certificates {}", path.display()))?;
                let certificates = Certificate::from_pem_bundle(&certificates)
                    .or_exit(Exit::Configuration, format_args!("read the certificates {}", path.display()))?;
                Some(certificates)
            }
            None => None,
        };
        Ok(Self { address: address.address.clone(), token, certificates, client: OnceCell::new() })
    }

    /// A client of the daemon; of the one at `at`, where its name stands for several.
    fn build(&self, at: Option<SocketAddr>) -> Result<Client, Failure> {
        let mut builder = autoscaler::tls::client(self.address.scheme() == "https");
        if let Some(certificates) = &self.certificates {
            builder = builder.tls_certs_only(certificates.clone());
        }
        if let Some((name, at)) = self.address.domain().zip(at) {
            builder = builder.resolve(name, at);
        }
        builder
            .timeout(TIMEOUT)
            // A token is for the host that it was meant for.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("muster-autoscaler/", env!("CARGO_PKG_VERSION")))
            .build()
            .or_exit(Exit::Bug, "prepare the HTTP client")
    }

    async fn client(&self) -> Result<&Client, Failure> {
        self.client.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Client, Failure> {
        let port = self.address.port_or_known_default().unwrap_or_default();
        let found: BTreeSet<SocketAddr> = match self.address.domain() {
            // What is wrong with a name is said when it is asked for.
            Some(name) => {
                tokio::net::lookup_host((name, port)).await.map(Iterator::collect).unwrap_or_default()
            }
            None => BTreeSet::new(),
        };
        if found.len() < 2 { self.build(None) } else { self.leader_of(found).await }
    }

    /// The one that leads; where nobody does, the first that answers.
    async fn leader_of(&self, found: BTreeSet<SocketAddr>) -> Result<Client, Failure> {
        let mut answering = None;
        for at in found {
            let client = self.build(Some(at))?;
            match self.leads(&client).await {
                Some(true) => return Ok(client),
                Some(false) => {
                    answering.get_or_insert(client);
                }
                None => {}
            }
        }
        answering.map_or_else(|| self.build(None), Ok)
    }

    /// Whether a daemon leads; `None` where it does not answer.
    async fn leads(&self, client: &Client) -> Option<bool> {
        // Anybody may ask that: the operator's token goes to the one that is given the order, and to no other.
        let request = client.get(self.url(&["v1", "fleets"]).ok()?).timeout(LEADS_TIMEOUT);
        let body = request.send().await.ok()?.bytes().await.ok()?;
        serde_json::from_slice(&body).ok().map(|Leads { leads }| leads)
    }

    /// Reads something.
    ///
    /// * `path`: segments below the address, taken literally.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(self.client().await?.get(self.url(path)?).query(query)).await
    }

    /// Gives an order.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(self.client().await?.post(self.url(path)?).json(body)).await
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers each connection with this, at an address of this host; nothing: it closes them.
    async fn answering(at: SocketAddr, said: &'static str) -> SocketAddr {
        let listener = TcpListener::bind(at).await.expect("it is free");
        let at = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await;
                if !said.is_empty() {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
                        said.len()
                    );
                    let _ = stream.write_all(head.as_bytes()).await;
                }
            }
        });
        at
    }

    #[tokio::test]
    async fn of_several_that_a_name_stands_for_the_one_that_leads_is_asked() {
        let (away, stands_by, leads) = ("", r#"{"leads": false}"#, r#"{"leads": true}"#);
        for (said, chosen) in
            [([stands_by, leads], 1), ([leads, stands_by], 0), ([away, leads], 1), ([away, stands_by], 1)]
        {
            let first = answering("127.0.0.1:0".parse().expect("an address"), said[0]).await;
            let second = answering(SocketAddr::new([127, 0, 0, 2].into(), first.port()), said[1]).await;
            let address = Address {
                address: format!("http://muster.test:{}", first.port()).parse().expect("an address"),
                ca_file: None,
            };
            let daemon = Daemon::new(&address, None).expect("it is one");
            let client = daemon.leader_of([first, second].into()).await.expect("a client");
            let answer =
                client.get(daemon.url(&["v1", "fleets"]).expect("a path")).send().await.expect("it answers");
            assert_eq!(answer.text().await.expect("a text"), said[chosen]);
        }
    }

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
