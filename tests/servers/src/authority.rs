//! A site's own certificate authority.

use crate::ground::Ground;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};

/// An authority, whose files are gone when it is dropped.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    ground: Ground,
}

impl Authority {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let authority = Self { issuer, ground: Ground::new() };
        fs::write(authority.path(), authority.pem()).expect("a file");
        authority
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }
    /// The same as a file.
    pub fn path(&self) -> PathBuf {
        self.ground.path().join("ca.pem")
    }

    /// Signs a certificate for a name or an address. * `place`: where. * returns: it, and its key.
    pub fn issue(&self, name: &str, place: &Path) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (at, of) = (place.join("server.pem"), place.join("server.key"));
        fs::write(&at, cert.pem()).expect("a file");
        fs::write(&of, key.serialize_pem()).expect("a file");
        (at, of)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
