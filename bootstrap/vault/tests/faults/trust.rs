//! Certificates, and ways away from them.

use crate::standin::{Node, failure};
use bootstrap_vault::{Keeper, VaultError, trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

/// A server's certificate: for whom it is, and until which year it and its authority's are good.
#[derive(Clone, Copy)]
struct Of {
    name: &'static str,
    until: i32,
    authority: i32,
}

const GOOD: Of = Of { name: "127.0.0.1", until: 2100, authority: 2100 };

/// A server with TLS that answers so. * returns: where it is, and its authority.
fn serve(of: Of, answer: &'static str) -> (SocketAddr, String) {
    // An error says that there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(of.authority, 1, 1);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![of.name.into()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(of.until, 1, 1);
    let cert = params.signed_by(&key, &ca).expect("a certificate");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into());
    let config = Arc::new(config.expect("a certificate with its key"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it listens");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("a configuration");
            let mut stream = rustls::Stream::new(&mut tls, &mut stream);
            // Who does not trust us hangs up.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ =
                    stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes());
            }
        }
    });
    (port, ca.pem())
}

/// What a login fails with at such a server.
async fn failure_of(of: Of, answer: &'static str) -> VaultError {
    let (port, authority) = serve(of, answer);
    let node = Node::new();
    let mut options = node.options(&format!("https://{port}"));
    let ca_file = node.place.path().join("ca.pem");
    fs::write(&ca_file, authority).expect("a file");
    options.server.ca_file = Some(ca_file);
    failure(&mut Keeper::new(options, None, 1).expect("options")).await
}

#[tokio::test]
async fn a_certificate_that_has_ended_or_is_anothers_is_refused_and_one_of_an_authority_that_has_ended() {
    for (of, words) in [
        (Of { until: 2020, ..GOOD }, "expired"),
        (Of { name: "vault.example.com", ..GOOD }, "not valid for name"),
        (Of { name: "127.0.0.2", ..GOOD }, "not valid for name"),
        (Of { authority: 2020, ..GOOD }, "the authority that signed its certificate has expired: CN="),
    ] {
        let error = failure_of(of, "403 Forbidden").await;
        let VaultError::Certificate { why, .. } = &error else { panic!("{error:?}") };
        assert!(why.contains(words) && !error.is_lasting(), "{why}");
    }
    let error = failure_of(GOOD, "403 Forbidden").await;
    assert!(matches!(error, VaultError::Denied { .. }), "{error:?}");
}

#[tokio::test]
async fn who_is_no_authority_of_the_host_is_none_by_its_roots() {
    let (port, _) = serve(GOOD, "200 OK");
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(trust::of_host());
    let client = client.build().expect("a client");
    let error = client.get(format!("https://{port}")).send().await.expect_err("nobody knows it");
    assert!(fleet::chain(&error).contains("UnknownIssuer"), "{}", fleet::chain(&error));
}

#[tokio::test]
async fn a_redirection_from_https_to_http_is_not_followed() {
    let error =
        failure_of(GOOD, "307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/v1/auth/approle/login")
            .await;
    let VaultError::Redirected { to, .. } = &error else { panic!("{error:?}") };
    assert_eq!(to, "http://127.0.0.1:1");
}
