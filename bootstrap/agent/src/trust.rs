//! Whom the host trusts: read once, and again when it has changed.
//!
//! A client is made for each look at a server, and a hundred and fifty files of certificates were most of what a watchman
//! computed. A site may put its own authority among them while the node boots: the clients that are made after that know it.

use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// What was read, and of what.
struct Read {
    of: Vec<Stamp>,
    config: ClientConfig,
}

/// A place where the host keeps certificates, and when that changed last: OpenSSL's file, or its directory. A file that is
/// written anew in a directory, or a link to it, is a new entry there.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    place: PathBuf,
    changed: Option<SystemTime>,
    bytes: u64,
}

static READ: Mutex<Option<Read>> = Mutex::new(None);

/// TLS as the host wants it: its roots, no certificate of our own, nothing but what is verified. A host that trusts nobody
/// has none that can be spoken to by TLS; whoever speaks in the clear needs none.
pub fn of_host() -> ClientConfig {
    let found = openssl_probe::probe();
    kept(&READ, found.cert_file.into_iter().chain(found.cert_dir), look)
}

/// Has the next client read all of it: somebody was not trusted, and it may have changed within a tick of the disk's clock.
pub fn forget() {
    *READ.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// What was read of the places, unless they have changed since.
fn kept(
    read: &Mutex<Option<Read>>,
    places: impl Iterator<Item = PathBuf>,
    look: impl FnOnce() -> ClientConfig,
) -> ClientConfig {
    let of: Vec<Stamp> = places.map(Stamp::of).collect();
    let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(read) = read.as_ref().filter(|read| read.of == of) {
        return read.config.clone();
    }
    let config = look();
    *read = Some(Read { of, config: config.clone() });
    config
}

impl Stamp {
    fn of(place: PathBuf) -> Self {
        let metadata = std::fs::metadata(&place).ok();
        let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        Self { changed, bytes: metadata.map_or(0, |metadata| metadata.len()), place }
    }
}

fn look() -> ClientConfig {
    // An error says that there is a provider already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a certificate that the host trusts cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(roots = taken, "read whom the host trusts");
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
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
        let (read, looks) = (Mutex::new(None), Cell::new(0));
        let ask = || {
            let places = [bundle.clone(), directory.clone()].into_iter();
            kept(&read, places, || {
                looks.set(looks.get() + 1);
                look()
            });
            looks.get()
        };
        assert_eq!([ask(), ask()], [1, 1]);
        let long_ago = SystemTime::UNIX_EPOCH;
        let age = |path: &PathBuf| {
            std::fs::File::open(path).and_then(|file| file.set_modified(long_ago)).expect("ours");
        };
        // Files have a coarse clock: what was read was old.
        age(&directory);
        assert_eq!([ask(), ask()], [2, 2]);
        std::fs::write(directory.join("site.pem"), "the site's").expect("written");
        assert_eq!([ask(), ask()], [3, 3]);
        std::fs::write(&bundle, "three").expect("written");
        assert_eq!([ask(), ask()], [4, 4]);
        *read.lock().expect("whole") = None;
        assert_eq!(ask(), 5);
    }
}
