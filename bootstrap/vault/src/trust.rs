//! Whom the host trusts: read once, and again when it has changed.
//!
//! A client is made for each look at a server, and a hundred and fifty files of certificates were most of what a watchman
//! computed. A site may put its own authority among them while the node boots: the clients that are made after that know it.

use crate::authorities::Authorities;
use rustls::client::{Resumption, WantsClientCert};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ConfigBuilder};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The places that certificates come from, as they are now. Two of them are equal where nobody has touched one in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted(Vec<Stamp>);

/// A file or a directory, and which one it is. A file that is written anew in a directory, or a link to it, is a new entry there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    place: PathBuf,
    /// Inode, length, seconds and nanoseconds of its last change; `None`: it cannot be seen.
    is: Option<(u64, u64, i64, i64)>,
}

struct Read {
    of: Trusted,
    authorities: Arc<Authorities>,
}

static READ: Mutex<Option<Read>> = Mutex::new(None);

impl Trusted {
    /// * `ca_file`: who alone is trusted; the host's roots without it.
    pub fn now(ca_file: Option<&Path>) -> Self {
        ca_file.map_or_else(|| Self::of(places()), |file| Self::of([file.to_owned()]))
    }

    fn of(places: impl IntoIterator<Item = PathBuf>) -> Self {
        let stamp = |place: PathBuf| {
            let metadata = std::fs::metadata(&place).ok();
            Stamp { is: metadata.map(|m| (m.ino(), m.len(), m.ctime(), m.ctime_nsec())), place }
        };
        Self(places.into_iter().map(stamp).collect())
    }
}

/// TLS as the host wants it: its roots, no certificate of our own, nothing but what is verified, each time anew: a session that is
/// taken up again would not see that a certificate has lapsed.
///
/// A host that trusts nobody has none that can be spoken to by TLS; whoever speaks in the clear needs none.
pub fn of_host() -> ClientConfig {
    verified(by(&host()).with_no_client_auth())
}

/// The same with nobody trusted but the certificates of a file. * returns: in words, what is wrong with it.
pub fn of_file(pem: &[u8]) -> Result<ClientConfig, String> {
    Ok(verified(by(&in_pem(pem)?).with_no_client_auth()))
}

/// The host's authorities.
pub(crate) fn host() -> Arc<Authorities> {
    kept(&READ, Trusted::of(places()), look)
}

/// Those of a file, all of them.
pub(crate) fn in_pem(pem: &[u8]) -> Result<Arc<Authorities>, String> {
    let mut authorities = Authorities::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.map_err(|error| error.to_string())?;
        authorities.add(added).map_err(|error| error.to_string())?;
    }
    if authorities.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(Arc::new(authorities))
}

/// TLS that trusts these; whose client it is is not said yet.
pub(crate) fn by(authorities: &Arc<Authorities>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    // An error says that there is a provider already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let verifier = Arc::clone(authorities);
    ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier)
}

/// Each time anew.
pub(crate) fn verified(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}

/// Has the next client read all of it: somebody was not trusted, and it may have changed within a tick of the disk's clock.
pub fn forget() {
    *READ.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Where OpenSSL has certificates on this host, which is where they are read from.
fn places() -> Vec<PathBuf> {
    let found = openssl_probe::probe();
    let directories = found.cert_dir.iter().flat_map(std::env::split_paths);
    directories.chain(found.cert_file.clone()).collect()
}

/// What was read of the places, unless they have changed since.
fn kept(read: &Mutex<Option<Read>>, of: Trusted, look: impl FnOnce() -> Authorities) -> Arc<Authorities> {
    let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(read) = read.as_ref().filter(|read| read.of == of) {
        return Arc::clone(&read.authorities);
    }
    let authorities = Arc::new(look());
    *read = Some(Read { of, authorities: Arc::clone(&authorities) });
    authorities
}

fn look() -> Authorities {
    let mut authorities = Authorities::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // What of them makes no sense is nobody.
        let _ = authorities.add(certificate);
    }
    authorities
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn certificates_are_read_once_and_again_when_one_has_come_or_the_bundle_is_another() {
        let place = tempfile::tempdir().expect("a directory");
        let (bundle, directory) = (place.path().join("bundle.pem"), place.path().join("certs"));
        std::fs::create_dir(&directory).expect("made");
        std::fs::write(&bundle, "one").expect("written");
        let trusted = || Trusted::of([bundle.clone(), directory.clone()]);
        let (read, looks) = (Mutex::new(None), Cell::new(0));
        let ask = || {
            kept(&read, trusted(), || {
                looks.set(looks.get() + 1);
                look()
            });
            looks.get()
        };
        // A disk's clock is coarse: until it sees the change.
        let change = |path: &Path| {
            let before = trusted();
            while trusted() == before {
                std::fs::write(path, "the site's").expect("written");
                let _ = std::fs::remove_file(directory.join("other.pem"));
            }
        };
        assert_eq!([ask(), ask()], [1, 1]);
        change(&directory.join("other.pem"));
        assert_eq!([ask(), ask()], [2, 2]);
        change(&bundle);
        assert_eq!([ask(), ask()], [3, 3]);
        *read.lock().expect("whole") = None;
        assert_eq!(ask(), 4);
    }
}
