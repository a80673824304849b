//! What can go wrong, as facts.

use aws_credential_types::provider::error::CredentialsError;
use bootstrap_core::Failure;
use fleet::ErrorClass;
pub(crate) use fleet::chain;
use std::fmt;
use std::time::Duration;

/// The most of a service's words that is kept.
const MOST_WORDS: usize = 512;

/// What was asked of AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Parameter Store, beneath this path.
    Parameters {
        /// `/muster/web/`.
        path: String,
    },
    /// Parameter Store, for one.
    Parameter {
        /// `/muster/web/awx-key`.
        name: String,
    },
    /// EC2, for a tag.
    Tag {
        /// Of which instance.
        instance: String,
        /// The tag's key.
        key: String,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameters { path } => write!(f, "read the parameters beneath {path} in SSM"),
            Self::Parameter { name } => write!(f, "read the parameter {name} in SSM"),
            Self::Tag { instance, key } => write!(f, "set the tag {key} of {instance}"),
        }
    }
}

/// What went wrong. Never holds a key or a parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// The address of the metadata service is none.
    #[error("{address:?} is no address of a metadata service: {why}")]
    Metadata {
        /// As configured.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The instance's role gave no credentials.
    #[error("no credentials of the instance's role: {why}")]
    Credentials {
        /// What to make of it.
        class: ErrorClass,
        /// What the metadata service or the way to it said.
        why: String,
    },
    /// The service refused.
    #[error("could not {operation}: {code}: {message}")]
    Refused {
        /// What was asked.
        operation: Operation,
        /// What to make of it.
        class: ErrorClass,
        /// AWS's code, or the HTTP status where it gave none.
        code: String,
        /// AWS's words, the first 512 bytes.
        message: String,
    },
    /// There was no whole answer.
    #[error("could not {operation}: {why}")]
    Unanswered {
        /// What was asked.
        operation: Operation,
        /// What happened instead.
        why: String,
    },
    /// There is more than may be.
    #[error("could not {operation}: there are more than {limit}")]
    TooMuch {
        /// What was asked.
        operation: Operation,
        /// `1000 parameters`.
        limit: String,
    },
    /// The request cannot be signed.
    #[error("could not sign a request to {url}: {why}")]
    Sign {
        /// Where it was to go.
        url: String,
        /// What the signer said.
        why: String,
    },
}

impl AwsError {
    /// What to make of it.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Credentials { class, .. } | Self::Refused { class, .. } => *class,
            // What is asked here changes nothing, or the same when it is repeated.
            Self::Unanswered { .. } => ErrorClass::Transient,
            Self::Metadata { .. } | Self::TooMuch { .. } | Self::Sign { .. } => ErrorClass::Malformed,
        }
    }

    /// Whether trying again cannot help: somebody has to change something first.
    ///
    /// A refusal may be that: roles and their policies take a while to reach all of AWS, so it is tried again.
    pub const fn is_lasting(&self) -> bool {
        matches!(self.class(), ErrorClass::Malformed)
    }

    pub(crate) fn credentials(error: &CredentialsError) -> Self {
        let class = match error {
            // Without a role there is nothing to find; a young instance may find it a little later.
            CredentialsError::CredentialsNotLoaded(_) => ErrorClass::NotFound,
            CredentialsError::InvalidConfiguration(_) => ErrorClass::Malformed,
            _ => ErrorClass::Transient,
        };
        Self::Credentials { class, why: bounded(&chain(error)) }
    }

    pub(crate) fn refused(
        operation: Operation,
        status: u16,
        code: Option<&str>,
        message: &str,
        retry_after: Option<Duration>,
    ) -> Self {
        let class = class_of(status, code.unwrap_or_default(), retry_after);
        let code = code.map_or_else(|| format!("status {status}"), str::to_owned);
        Self::Refused { operation, class, code: bounded(&code), message: bounded(message) }
    }
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        let class = error.class();
        if error.is_lasting() { Self::lasting(class, error) } else { Self::new(class, error) }
    }
}

/// What a code means, and where it says nothing, a status.
fn class_of(status: u16, code: &str, retry_after: Option<Duration>) -> ErrorClass {
    let is = |codes: &[&str]| codes.iter().any(|known| code == *known || code == format!("{known}Exception"));
    if is(&["Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "TooManyUpdates"])
    {
        return ErrorClass::Throttled { retry_after };
    }
    // Codes of SSM, EC2 and STS for those who may not, whose clock is off, or whose key is not known (yet).
    if is(&[
        "AccessDenied",
        "AuthFailure",
        "ExpiredToken",
        "InvalidClientTokenId",
        "InvalidSignature",
        "MissingAuthenticationToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClient",
    ]) {
        return ErrorClass::Denied;
    }
    if code.ends_with(".NotFound") || is(&["InvalidID", "ParameterNotFound", "ResourceNotFound"]) {
        return ErrorClass::NotFound;
    }
    match status {
        429 => ErrorClass::Throttled { retry_after },
        503 if retry_after.is_some() => ErrorClass::Throttled { retry_after },
        401 | 403 => ErrorClass::Denied,
        404 => ErrorClass::NotFound,
        500.. => ErrorClass::Transient,
        _ => ErrorClass::Malformed,
    }
}

/// The first part of a text that comes from outside.
pub(crate) fn bounded(text: &str) -> String {
    let end = (0..=MOST_WORDS.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_more_than_statuses() {
        let check =
            |status, code, expect: ErrorClass| assert_eq!(class_of(status, code, None), expect, "{code}");
        check(400, "ThrottlingException", ErrorClass::Throttled { retry_after: None });
        check(503, "RequestLimitExceeded", ErrorClass::Throttled { retry_after: None });
        check(400, "AccessDeniedException", ErrorClass::Denied);
        check(400, "UnrecognizedClientException", ErrorClass::Denied);
        check(403, "UnauthorizedOperation", ErrorClass::Denied);
        check(400, "InvalidInstanceID.NotFound", ErrorClass::NotFound);
        check(400, "ValidationException", ErrorClass::Malformed);
        check(500, "InternalServerError", ErrorClass::Transient);
    }

    #[test]
    fn words_are_cut_between_characters() {
        assert_eq!(bounded(&"ä".repeat(400)).len(), 512);
        assert_eq!(bounded(&format!("a{}", "ä".repeat(400))).len(), 511);
    }
}
