//! Authorities, each of them while its own certificate is good.
//!
//! How long the certificate of an authority that somebody put on the host is good is nothing to webpki: it is trusted, and so for
//! ever. OpenSSL and Go, and so Vault's own agent, refuse one that has lapsed; so is it here, by its name.

use der::Decode as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use std::sync::Arc;
use x509_cert::Certificate;

/// Whoever may sign a server's certificate.
#[derive(Debug)]
pub struct Authorities {
    all: RootCertStore,
    /// Of each of them, in the same order: its name, and the last second of its certificate.
    until: Vec<(String, u64)>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Who signed is known, and its time is over.
#[derive(Debug, thiserror::Error)]
#[error("the authority that signed its certificate has expired: {0}")]
struct Lapsed(String);

impl Authorities {
    /// Nobody yet.
    pub(crate) fn new() -> Self {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        Self { all: RootCertStore::empty(), until: Vec::new(), algorithms }
    }

    /// One more. * returns: what is wrong with a certificate that makes no sense.
    pub(crate) fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        // What is read here alone is its end; one that is written oddly has none, as webpki sees it.
        let until = Certificate::from_der(&certificate).map_or_else(
            |_| (String::new(), u64::MAX),
            |read| {
                let read = read.tbs_certificate();
                (read.subject().to_string(), read.validity().not_after.to_unix_duration().as_secs())
            },
        );
        self.all.add(certificate)?;
        self.until.push(until);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether somebody signed whose time is not over. * `signed_by`: whether one of these did.
    fn good(
        &self,
        now: UnixTime,
        signed_by: impl Fn(&RootCertStore) -> Result<(), Error>,
    ) -> Result<(), Error> {
        signed_by(&self.all)?;
        let each = || self.all.roots.iter().zip(&self.until);
        let is_good = |(_, until): &(String, u64)| now.as_secs() <= *until;
        if self.until.iter().all(is_good) {
            return Ok(());
        }
        let of = |root: &TrustAnchor<'static>| root.clone();
        let good: RootCertStore =
            each().filter(|(_, until)| is_good(until)).map(|(root, _)| of(root)).collect();
        let Err(unknown) = signed_by(&good) else { return Ok(()) };
        let mut lapsed = each().filter(|(_, until)| !is_good(until));
        let signer = lapsed.find(|(root, _)| signed_by(&std::iter::once(of(root)).collect()).is_ok());
        Err(signer.map_or(unknown, |(_, (name, _))| {
            CertificateError::Other(OtherError(Arc::new(Lapsed(name.clone())))).into()
        }))
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        self.good(now, |roots| {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)
        })?;
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
