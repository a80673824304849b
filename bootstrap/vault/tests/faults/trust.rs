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

/// A server with TLS whose certificate is good until this year, and that answers so. * returns: where it is, and its authority.
fn serve(until: i32, answer: &'static str) -> (SocketAddr, String) {
    // An error says that there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).expect("an address");
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
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
async fn failure_of(until: i32, answer: &'static str) -> VaultError {
    let (port, authority) = serve(until, answer);
    let node = Node::new();
    let mut options = node.options(&format!("https://{port}"));
    let ca_file = node.place.path().join("ca.pem");
    fs::write(&ca_file, authority).expect("a file");
    options.server.ca_file = Some(ca_file);
    failure(&mut Keeper::new(options, None, 1).expect("options")).await
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused() {
    let error = failure_of(2020, "403 Forbidden").await;
    let VaultError::Certificate { why, .. } = &error else { panic!("{error:?}") };
    assert!(why.contains("expired") && !error.is_lasting(), "{why}");
    let error = failure_of(2100, "403 Forbidden").await;
    assert!(matches!(error, VaultError::Denied { .. }), "{error:?}");
}

#[tokio::test]
async fn who_is_no_authority_of_the_host_is_none_by_its_roots() {
    let (port, _) = serve(2100, "200 OK");
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(trust::of_host());
    let client = client.build().expect("a client");
    let error = client.get(format!("https://{port}")).send().await.expect_err("nobody knows it");
    assert!(fleet::chain(&error).contains("UnknownIssuer"), "{}", fleet::chain(&error));
}

#[tokio::test]
async fn a_redirection_from_https_to_http_is_not_followed() {
    let error =
        failure_of(2100, "307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/v1/auth/approle/login")
            .await;
    let VaultError::Redirected { to, .. } = &error else { panic!("{error:?}") };
    assert_eq!(to, "http://127.0.0.1:1");
}
