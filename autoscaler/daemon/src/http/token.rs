//! Bearer tokens from files, compared in constant time.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use subtle::{Choice, ConstantTimeEq};

/// The largest token file: more is not a token.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// A file with bearer tokens, one a line, each as good as the other: a new one is added, the callers change over,
/// the old one is taken out.
///
/// The file is read at every call, so that a change counts at once. While it cannot be read, or holds nothing
/// (as in the middle of a careless rewrite), what it last held stays good.
pub struct TokenFile {
    path: PathBuf,
    last: Mutex<Vec<Secret>>,
}

/// A token: what `Debug` cannot print.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why a file cannot serve as a token file.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("read the token file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds no token, or something that is none.
    #[error("find a token in {}: it must hold one a line, of at least 16 printable characters without blanks", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl TokenFile {
    /// A token file that can be read now and holds at least one token.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TokenFileError> {
        let path = path.into();
        let tokens = read(&path)?;
        Ok(Self { path, last: Mutex::new(tokens) })
    }

    /// Whether a request carries one of the tokens in its `Authorization` header.
    ///
    /// Compares with every token and in constant time; only a token's length can be learned from the time.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|given| self.holds(given))
    }

    fn holds(&self, given: &str) -> bool {
        let tokens = self.current();
        let matches = |token: &Secret| token.0.as_bytes().ct_eq(given.as_bytes());
        tokens.iter().fold(Choice::from(0), |any, token| any | matches(token)).into()
    }

    fn current(&self) -> Vec<Secret> {
        let read = read(&self.path);
        // A panic elsewhere cannot have left half a list.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(tokens) if tokens != *last => {
                tracing::info!(path = %self.path.display(), tokens = tokens.len(), "took over changed tokens");
                *last = tokens;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(error = %error, "kept the tokens of before"),
        }
        last.clone()
    }
}

fn read(path: &Path) -> Result<Vec<Secret>, TokenFileError> {
    let unreadable = |source| TokenFileError::Unreadable { path: path.to_owned(), source };
    let malformed = || TokenFileError::Malformed { path: path.to_owned() };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
        .map_err(unreadable)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let usable = |line: &str| line.len() >= 16 && line.bytes().all(|byte| byte.is_ascii_graphic());
    let tokens: Option<Vec<Secret>> =
        lines.map(|line| usable(line).then(|| Secret(line.to_owned()))).collect();
    tokens.filter(|tokens| !tokens.is_empty()).ok_or_else(malformed)
}

/// The token of an `Authorization: Bearer` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header"))])
    }

    #[test]
    fn a_changed_file_counts_at_once_and_a_broken_one_changes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, "first-token-of-all\n").expect("a file");
        let file = TokenFile::open(&path).expect("a token file");
        let admits = |token: &str| file.admits(&headers(&format!("Bearer {token}")));
        assert!(admits("first-token-of-all"));
        assert!(!admits("second-token-of-all"));

        std::fs::write(&path, "first-token-of-all\nsecond-token-of-all\n").expect("a rotation");
        assert!(admits("first-token-of-all") && admits("second-token-of-all"));

        std::fs::write(&path, "second-token-of-all").expect("the end of the rotation");
        assert!(!admits("first-token-of-all"));

        std::fs::write(&path, "").expect("a careless rewrite");
        assert!(admits("second-token-of-all"));
        std::fs::remove_file(&path).expect("no file");
        assert!(admits("second-token-of-all") && !admits(""));
    }

    #[test]
    fn only_a_whole_bearer_token_is_admitted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, "0123456789abcdef").expect("a file");
        let file = TokenFile::open(&path).expect("a token file");
        for (header, admitted) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(file.admits(&headers(header)), admitted, "{header}");
        }
        assert!(!file.admits(&HeaderMap::new()));
        assert!(!format!("{file:?}{:?}", file.last).contains("0123"), "secrets are not printed");
    }

    #[test]
    fn a_file_without_a_token_is_refused_when_it_is_opened() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        assert!(matches!(TokenFile::open(&path), Err(TokenFileError::Unreadable { .. })));
        for text in ["", "\n\n", "short", "sixteen letters and blanks", "a-good-one-of-many\nbad"] {
            std::fs::write(&path, text).expect("a file");
            assert!(matches!(TokenFile::open(&path), Err(TokenFileError::Malformed { .. })), "{text:?}");
        }
    }
}
