//! Nodes that prove who they are.

use super::watched::{Unusable, Watched};
use fleet::wire::Identified;
use fleet::{InstanceId, Region, Timestamp};
use fleet_identity::{Rules, TokenKeys, TokenRefused, Trust};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long a token holds: an agent that comes back from a long standby identifies anew, and one that lives asks in time.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// Identifications at a time. Each is some 50 µs of arithmetic and a look at what is known of the instance.
const AT_A_TIME: usize = 16;
/// The largest file of keys or certificates.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Where the means of telling nodes apart are.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    /// AWS's certificates in PEM: a directory of `REGION.pem`, each for the documents of its region alone, or one file
    /// for those of any region.
    pub certificates: PathBuf,
    /// The keys of tokens, one a line, each of 64 hexadecimal digits: made where it is missing, readable for its owner
    /// alone. Processes that stand in for each other have the same keys.
    pub keys: PathBuf,
    /// The accounts whose instances may speak.
    pub accounts: BTreeSet<String>,
    /// See [`Rules::any_address`].
    pub any_address: bool,
}

/// Gives tokens to nodes that prove who they are, and knows them again.
#[derive(Debug)]
pub struct Identity {
    trust: Watched<Trust>,
    keys: Watched<TokenKeys>,
    rules: Rules,
    places: Semaphore,
}

impl Identity {
    /// Reads certificates and keys; both are read again when they change.
    ///
    /// * Fails where they cannot be used, and where the file of keys can be read by everybody.
    pub fn open(files: IdentityFiles) -> Result<Self, Unusable> {
        let IdentityFiles { certificates, keys, accounts, any_address } = files;
        make_keys(&keys).map_err(|error| Unusable::new(&keys, error))?;
        let paths = vec![certificates.clone()];
        let trust = Watched::open("instance identity certificates", paths, move || trust(&certificates))?;
        let keys = Watched::open("token keys", vec![keys.clone()], move || token_keys(&keys))?;
        let rules = Rules { accounts, any_address };
        Ok(Self { trust, keys, rules, places: Semaphore::new(AT_A_TIME) })
    }

    /// A place to identify in; `None`: too many do.
    pub(super) fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    pub(super) fn trust(&self) -> Arc<Trust> {
        self.trust.current()
    }

    pub(super) const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A new token for an instance that was admitted.
    pub(super) fn issue(&self, instance: &InstanceId, now: Timestamp) -> Identified {
        let expires = now + LASTS;
        Identified { token: self.keys.current().issue(instance, expires), expires }
    }

    /// Whose token it is.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<InstanceId, TokenRefused> {
        self.keys.current().verify(token, now)
    }
}

/// Writes a new key where there is no file, and never half of one: another process may do the same at this moment.
fn make_keys(path: &Path) -> std::io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let text = TokenKeys::generate().map_err(std::io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| std::fs::hard_link(&draft, path));
    std::fs::remove_file(&draft)?;
    match placed {
        // Somebody else was quicker: theirs counts.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        placed => placed,
    }
}

fn token_keys(path: &Path) -> Result<TokenKeys, Unusable> {
    let unusable = |error: std::io::Error| Unusable::new(path, error);
    let mode = std::fs::metadata(path).map_err(unusable)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(Unusable::new(
            path,
            format!("everybody may read or change it (mode {:03o}): chmod 600", mode & 0o777),
        ));
    }
    TokenKeys::parse(&read(path)?).map_err(|error| Unusable::new(path, error))
}

fn trust(path: &Path) -> Result<Trust, Unusable> {
    let mut trust = Trust::default();
    let mut add = |region: Option<&Region>, path: &Path| {
        trust.add_pem(region, &read(path)?).map_err(|error| Unusable::new(path, error))
    };
    if path.is_dir() {
        let listed = std::fs::read_dir(path).map_err(|error| Unusable::new(path, error))?;
        let mut files: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "pem")) {
            let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            add(Some(&Region::new(name)), file)?;
        }
    } else {
        add(None, path)?;
    }
    if trust.is_empty() {
        return Err(Unusable::new(path, "no file REGION.pem is in it"));
    }
    Ok(trust)
}

fn read(path: &Path) -> Result<String, Unusable> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
        .map_err(|error| Unusable::new(path, error))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state/node-token.key");
        make_keys(&path).expect("a key");
        let first = std::fs::read_to_string(&path).expect("a file");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        make_keys(&path).expect("it is there");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), first);
        assert_eq!(std::fs::read_dir(directory.path().join("state")).expect("a directory").count(), 1);
        token_keys(&path).expect("fit for use");
    }

    #[test]
    fn a_key_that_everybody_may_read_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        make_keys(&path).expect("a key");
        for (mode, fit) in [(0o600, true), (0o640, true), (0o604, false), (0o602, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
            assert_eq!(token_keys(&path).is_ok(), fit, "{mode:o}");
        }
    }

    #[test]
    fn what_holds_no_certificates_is_refused_with_its_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let refused = |path: &Path| crate::recorder::chain(&trust(path).expect_err("nothing is there"));
        assert!(refused(directory.path()).contains("no file REGION.pem"));
        let file = directory.path().join("eu-west-1.pem");
        std::fs::write(&file, "nothing").expect("a file");
        for path in [directory.path(), &file] {
            let says = refused(path);
            assert!(says.contains("eu-west-1.pem") && says.contains("find certificates in PEM"), "{says}");
        }
        assert!(refused(&directory.path().join("none")).contains("No such file"));
    }
}
