//! What can go wrong, as facts. None of them holds a secret: words of the server lose what was sent to it.

use crate::place::PlaceError;
use crate::template::TemplateError;
use bootstrap_core::Failure;
use fleet::ErrorClass;
use std::path::PathBuf;
use std::time::Duration;

/// What went wrong. `call` is the method and the path beneath `/v1`: `GET kv/data/web`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The address is none.
    #[error("{address:?} is no address of Vault: {why}")]
    Address {
        /// As configured, without what may be a password.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of ours cannot be used: a certificate, a role id, a JWT.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What to make of it.
        class: ErrorClass,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody listens there, or nothing leads there. Nothing was sent.
    #[error("no connection to {address}: {why}")]
    Unreachable {
        /// The server.
        address: String,
        /// The system's words.
        why: String,
    },
    /// The server's certificate does not convince us, or ours does not convince the server.
    #[error("no trust between us and {address}: {why}")]
    Certificate {
        /// The server.
        address: String,
        /// The reason in TLS's words.
        why: String,
    },
    /// There was no whole answer in time.
    #[error("{call} was not answered within {after:?}")]
    TimedOut {
        /// What was asked.
        call: String,
        /// How long it was waited.
        after: Duration,
    },
    /// The connection ended before the answer did.
    #[error("{call} was cut off: {why}")]
    Cut {
        /// What was asked.
        call: String,
        /// The transport's words.
        why: String,
    },
    /// Vault is sealed.
    #[error("{call}: Vault is sealed")]
    Sealed {
        /// What was asked.
        call: String,
    },
    /// Vault was never initialised.
    #[error("{call}: Vault is not initialised")]
    Uninitialised {
        /// What was asked.
        call: String,
    },
    /// The server is a standby, and no one leads (yet).
    #[error("{call}: this server is a standby and knows no active one")]
    NotElected {
        /// What was asked.
        call: String,
    },
    /// A quota.
    #[error("{call}: too many requests")]
    Throttled {
        /// What was asked.
        call: String,
        /// When to come back, if the server said so.
        retry_after: Option<Duration>,
    },
    /// Our token is not (or no longer) one of Vault's: expired, revoked, or of another cluster.
    #[error("{call}: the token is no longer valid")]
    TokenInvalid {
        /// What was asked.
        call: String,
    },
    /// The token is good, and its policies do not allow this; or a login is not allowed.
    #[error("{call} is not allowed: {words}")]
    Denied {
        /// What was asked.
        call: String,
        /// Vault's words.
        words: String,
    },
    /// There is nothing at this path.
    #[error("{call}: there is nothing{}", prefixed(words))]
    NotFound {
        /// What was asked.
        call: String,
        /// Vault's words, where it had any.
        words: String,
    },
    /// Vault understood and refused.
    #[error("{call} was refused ({status}): {words}")]
    Refused {
        /// What was asked.
        call: String,
        /// The HTTP status, 4xx.
        status: u16,
        /// Vault's words.
        words: String,
    },
    /// Vault, or what it stands on, failed.
    #[error("{call} failed on the server ({status}): {words}")]
    Failing {
        /// What was asked.
        call: String,
        /// The HTTP status.
        status: u16,
        /// Vault's words.
        words: String,
    },
    /// The answer is none of Vault's.
    #[error("{call} brought an answer that is none of Vault's: {why}")]
    Garbage {
        /// What was asked.
        call: String,
        /// Where it stopped to make sense.
        why: String,
    },
    /// The answer is larger than any that is right.
    #[error("{call} brought more than {limit} bytes")]
    TooLarge {
        /// What was asked.
        call: String,
        /// The most that is read.
        limit: usize,
    },
    /// The server sends us where we do not go.
    #[error("{call} was redirected to {to}: {why}")]
    Redirected {
        /// What was asked.
        call: String,
        /// Where to.
        to: String,
        /// Why not.
        why: String,
    },
    /// ALARM: the wrapping token is used up, and not by us.
    #[error(
        "the wrapping token in {} is used up or has lapsed; unless it is old, somebody else has seen the secret id",
        file.display()
    )]
    AlreadyUnwrapped {
        /// Where it stands.
        file: PathBuf,
    },
    /// ALARM: the wrapping token was made by something else than it should have been.
    #[error("the wrapping token in {} was made by {found}, not by {expected}", file.display())]
    WrongCreationPath {
        /// Where it stands.
        file: PathBuf,
        /// As configured.
        expected: String,
        /// As Vault says.
        found: String,
    },
    /// The secret id that we unwrapped is no longer good: a new wrapping token has to be put there.
    #[error("the secret id that was unwrapped from {} is no longer valid; it takes a new one", file.display())]
    SecretIdSpent {
        /// Where the wrapping token stands.
        file: PathBuf,
    },
    /// The login could not be signed.
    #[error("could not sign the login: {}", .0.what)]
    Sign(Failure),
    /// A template cannot be rendered.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A file cannot be put where it belongs.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// Words behind a colon; nothing for none.
fn prefixed(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl VaultError {
    /// What to make of it. Every call of this crate is safe to repeat: a login that came off unseen leaves a token
    /// that lapses by itself.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Address { .. }
            | Self::Refused { .. }
            | Self::Garbage { .. }
            | Self::TooLarge { .. }
            | Self::Template(_) => ErrorClass::Malformed,
            Self::File { class, .. } => *class,
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Cut { .. }
            | Self::Sealed { .. }
            | Self::Uninitialised { .. }
            | Self::NotElected { .. }
            | Self::Failing { .. } => ErrorClass::Transient,
            Self::Throttled { retry_after, .. } => ErrorClass::Throttled { retry_after: *retry_after },
            Self::Certificate { .. }
            | Self::TokenInvalid { .. }
            | Self::Denied { .. }
            | Self::Redirected { .. }
            | Self::AlreadyUnwrapped { .. }
            | Self::WrongCreationPath { .. }
            | Self::SecretIdSpent { .. } => ErrorClass::Denied,
            Self::NotFound { .. } => ErrorClass::NotFound,
            Self::Sign(failure) => failure.class,
            Self::Place(error) => error.class(),
        }
    }

    /// Whether trying again cannot help: somebody has to change the configuration, a policy or a secret first.
    ///
    /// What may come by itself is not lasting: a certificate that is renewed, a secret or a file that is written a
    /// little later, an answer of a proxy while Vault behind it is away.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Address { .. }
            | Self::Denied { .. }
            | Self::Refused { .. }
            | Self::AlreadyUnwrapped { .. }
            | Self::WrongCreationPath { .. }
            | Self::SecretIdSpent { .. }
            | Self::Template(_) => true,
            Self::Sign(failure) => failure.lasting,
            Self::Place(error) => error.is_lasting(),
            _ => false,
        }
    }

    /// Whether somebody should look at once, since a secret may be in other hands.
    pub const fn is_alarm(&self) -> bool {
        matches!(self, Self::AlreadyUnwrapped { .. } | Self::WrongCreationPath { .. })
    }

    /// A file that cannot be read.
    pub(crate) fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Self {
        let class = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorClass::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorClass::Denied,
            _ => ErrorClass::Transient,
        };
        Self::File { path: path.to_owned(), class, why: error.to_string() }
    }

    /// A file that does not hold what it should.
    pub(crate) fn unusable(path: &std::path::Path, why: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), class: ErrorClass::Malformed, why: why.into() }
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let class = error.class();
        if error.is_lasting() { Self::lasting(class, error) } else { Self::new(class, error) }
    }
}
