//! HTTPS, and clients' certificates.

use autoscaler_consul::{Consul, Options, Tls};
use autoscaler_leader::LedgerRead;
use fleet::ErrorClass;
use muster_test_servers::{Consul as Server, ConsulOptions};

#[tokio::test]
async fn certificates_are_verified_both_ways_and_read_again_when_their_files_change() {
    let server = Server::start(&ConsulOptions { tls: true, ..ConsulOptions::default() });
    let tls = server.tls().expect("it has TLS").clone();
    let mut options = Options::new(&tls.address, "one");

    let stranger = Consul::new(options.clone()).expect("options make sense");
    let error = stranger.read_ledger("web").await.expect_err("the host does not trust its CA");
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");

    options.tls = Tls { ca_file: Some(tls.ca.clone()), ..Tls::default() };
    let anonymous = Consul::new(options.clone()).expect("options make sense");
    let error = anonymous.read_ledger("web").await.expect_err("we have no certificate");
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");

    let ours = |name: &str| server.directory().join(name);
    let (cert, key) = (ours("our-cert.pem"), ours("our-key.pem"));
    options.tls =
        Tls { ca_file: Some(tls.ca.clone()), cert_file: Some(cert.clone()), key_file: Some(key.clone()) };
    let consul = Consul::new(options).expect("options make sense");
    let error = consul.read_ledger("web").await.expect_err("the files are not there yet");
    assert_eq!(error.class(), ErrorClass::Denied, "{error}");
    std::fs::copy(&tls.cert, &cert).expect("a certificate");
    std::fs::copy(&tls.key, &key).expect("a key");
    assert_eq!(consul.read_ledger("web").await, Ok(LedgerRead::default()));

    std::fs::write(&cert, "half").expect("a certificate that is being written");
    assert_eq!(consul.read_ledger("web").await, Ok(LedgerRead::default()), "the one before goes on");
}
