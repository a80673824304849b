//! The services that are spoken, and each one's way to refuse.

use crate::shared::{Context, Failure};
use crate::sigv4::SignatureError;
use crate::wire::{AwsError, Data};
use crate::{autoscaling, cloudwatch, ec2, sqs, ssm, sts};
use fleet::{ApiError, ErrorClass, Timestamp};
use http::StatusCode;

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Ec2,
    CloudWatch,
    Sqs,
    Ssm,
    Sts,
    AutoScaling,
}

/// What a service can be asked.
pub(crate) struct Operation {
    /// In the service's words.
    pub name: &'static str,
    /// Who counts its calls and refuses them by rate or fault.
    pub counted: Counted,
    /// Carries it out.
    pub run: fn(&Context<'_>, &Data) -> Result<Data, Failure>,
}

/// Who counts the calls of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// The world, where it answers them.
    ByWorld,
    /// The gate, before the operation is carried out.
    ByGate,
}

impl Operation {
    pub const fn by_world(name: &'static str, run: fn(&Context<'_>, &Data) -> Result<Data, Failure>) -> Self {
        Self { name, counted: Counted::ByWorld, run }
    }
    pub const fn by_gate(name: &'static str, run: fn(&Context<'_>, &Data) -> Result<Data, Failure>) -> Self {
        Self { name, counted: Counted::ByGate, run }
    }
}

/// Why the caller of a request is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthError {
    /// The signature does not hold.
    Signature(SignatureError),
    /// Nobody has this access key, or the session's token is not the one that was issued with it.
    UnknownKey,
    /// The key was issued for a while that is over.
    Expired,
    /// Signed for another service or region: which one it should be.
    Scope(String),
}

impl Service {
    /// The name in a signature's scope.
    pub const fn signing_name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::CloudWatch => "monitoring",
            Self::Sqs => "sqs",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
            Self::AutoScaling => "application-autoscaling",
        }
    }
    /// What it can be asked.
    pub fn operations(self) -> impl Iterator<Item = &'static Operation> {
        let operations: &[&[Operation]] = match self {
            Self::Ec2 => ec2::OPERATIONS,
            Self::CloudWatch => &[cloudwatch::OPERATIONS],
            Self::Sqs => &[sqs::OPERATIONS],
            Self::Ssm => &[ssm::OPERATIONS],
            Self::Sts => &[sts::OPERATIONS],
            Self::AutoScaling => &[autoscaling::OPERATIONS],
        };
        operations.iter().copied().flatten()
    }
    /// The refusal of a call for its rate.
    pub fn throttled(self) -> AwsError {
        match self {
            Self::Ec2 => AwsError::new("RequestLimitExceeded", "Request limit exceeded.")
                .with_status(StatusCode::SERVICE_UNAVAILABLE),
            Self::Sqs => AwsError::new("com.amazonaws.sqs#RequestThrottled", "Rate exceeded")
                .with_query_code("RequestThrottled")
                .with_status(StatusCode::FORBIDDEN),
            Self::CloudWatch | Self::Sts | Self::Ssm | Self::AutoScaling => {
                AwsError::new("ThrottlingException", "Rate exceeded").with_query_code("Throttling")
            }
        }
    }
    /// The refusal of a caller who may not.
    pub fn denied(self, who: &str, operation: &str) -> AwsError {
        let action = format!("User: {who} is not authorized to perform: {}:{operation}", self.signing_name());
        if self == Self::Ec2 {
            let message = format!("You are not authorized to perform this operation. {action}");
            return AwsError::new("UnauthorizedOperation", message).with_status(StatusCode::FORBIDDEN);
        }
        AwsError::new("AccessDeniedException", action)
            .with_query_code("AccessDenied")
            .with_status(self.refusal_status())
    }
    /// The refusal of a caller who is not believed.
    ///
    /// * `now`: the host's time, which some of the words quote.
    pub fn unauthenticated(self, error: &AuthError, now: Timestamp) -> AwsError {
        const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check \
             your AWS Secret Access Key and signing method. Consult the service documentation for details.";
        if self == Self::Ec2 {
            return ec2_unauthenticated(error);
        }
        let (code, query_code, message) = match error {
            AuthError::Signature(SignatureError::Missing) => (
                "MissingAuthenticationTokenException",
                "MissingAuthenticationToken",
                "Missing Authentication Token".to_owned(),
            ),
            AuthError::Signature(SignatureError::Malformed(what)) => (
                "IncompleteSignatureException",
                "IncompleteSignature",
                format!("Authorization header {what}"),
            ),
            AuthError::Signature(SignatureError::Skewed { signed, .. }) => (
                "InvalidSignatureException",
                "SignatureDoesNotMatch",
                format!("Signature expired: {signed} is not within 5 min. of {now}"),
            ),
            AuthError::Signature(SignatureError::Mismatch) => {
                ("InvalidSignatureException", "SignatureDoesNotMatch", MISMATCH.to_owned())
            }
            AuthError::UnknownKey => (
                "UnrecognizedClientException",
                "InvalidClientTokenId",
                "The security token included in the request is invalid.".to_owned(),
            ),
            AuthError::Expired => (
                "ExpiredTokenException",
                "ExpiredToken",
                "The security token included in the request is expired".to_owned(),
            ),
            AuthError::Scope(expected) => {
                ("InvalidSignatureException", "SignatureDoesNotMatch", scope_message(expected))
            }
        };
        let status = match query_code {
            "IncompleteSignature" => StatusCode::BAD_REQUEST,
            _ => self.refusal_status(),
        };
        AwsError::new(code, message).with_query_code(query_code).with_status(status)
    }
    /// An error of the world in the service's words. The world speaks as EC2 does.
    pub fn world_refused(self, error: &ApiError) -> AwsError {
        let code = error.code.as_deref().unwrap_or("InternalError");
        match error.class {
            ErrorClass::Throttled { .. } if self != Self::Ec2 => self.throttled(),
            ErrorClass::Denied if self != Self::Ec2 => {
                AwsError::new("AccessDeniedException", error.message.clone())
                    .with_query_code("AccessDenied")
                    .with_status(self.refusal_status())
            }
            class => AwsError::new(code, error.message.clone()).with_status(match class {
                ErrorClass::Throttled { .. } => StatusCode::SERVICE_UNAVAILABLE,
                ErrorClass::Denied => StatusCode::FORBIDDEN,
                ErrorClass::NoCapacity | ErrorClass::Transient | ErrorClass::Unclear => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
                ErrorClass::NotFound | ErrorClass::Conflict | ErrorClass::Malformed => {
                    StatusCode::BAD_REQUEST
                }
            }),
        }
    }
    /// With which status the service refuses a caller: those that were born with JSON say 400.
    const fn refusal_status(self) -> StatusCode {
        match self {
            Self::Ssm | Self::AutoScaling => StatusCode::BAD_REQUEST,
            Self::Ec2 | Self::CloudWatch | Self::Sqs | Self::Sts => StatusCode::FORBIDDEN,
        }
    }
}

/// EC2 has words of its own, and few: a wrong key and a wrong secret look alike.
fn ec2_unauthenticated(error: &AuthError) -> AwsError {
    let auth_failure =
        |message: String| AwsError::new("AuthFailure", message).with_status(StatusCode::UNAUTHORIZED);
    match error {
        AuthError::Signature(SignatureError::Missing) => {
            AwsError::new("MissingAuthenticationToken", "Request is missing Authentication Token")
                .with_status(StatusCode::FORBIDDEN)
        }
        AuthError::Signature(SignatureError::Malformed(what)) => {
            AwsError::new("IncompleteSignature", format!("Authorization header {what}"))
        }
        AuthError::Signature(SignatureError::Skewed { .. }) | AuthError::Expired => {
            AwsError::new("RequestExpired", "Request has expired.")
        }
        AuthError::Signature(SignatureError::Mismatch) | AuthError::UnknownKey => {
            auth_failure("AWS was not able to validate the provided access credentials".to_owned())
        }
        AuthError::Scope(expected) => auth_failure(scope_message(expected)),
    }
}

fn scope_message(expected: &str) -> String {
    format!("Credential should be scoped to {expected}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_secret_has_each_services_own_code() {
        let error = AuthError::Signature(SignatureError::Mismatch);
        let refused = |service: Service| {
            let refusal = service.unauthenticated(&error, Timestamp::EPOCH);
            (refusal.status.as_u16(), refusal.code, refusal.query_code)
        };
        assert_eq!(refused(Service::Ec2), (401, "AuthFailure".into(), None));
        let signature = Some("SignatureDoesNotMatch");
        assert_eq!(refused(Service::Sts), (403, "InvalidSignatureException".into(), signature));
        assert_eq!(refused(Service::Sqs), (403, "InvalidSignatureException".into(), signature));
        assert_eq!(refused(Service::Ssm), (400, "InvalidSignatureException".into(), signature));
    }

    #[test]
    fn every_operation_is_in_the_readme() {
        let readme = include_str!("../README.md");
        let services = [
            Service::Ec2,
            Service::CloudWatch,
            Service::Sqs,
            Service::Ssm,
            Service::Sts,
            Service::AutoScaling,
        ];
        for operation in services.into_iter().flat_map(Service::operations) {
            let named =
                |word: &str| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()) == operation.name;
            assert!(readme.split_whitespace().any(named), "{}", operation.name);
        }
    }
}
