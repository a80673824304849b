//! What AWS's and the transport's failures mean: every failure gets a class, and callers read only that.

use crate::action::{Action, Effect};
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use fleet::chain;
use fleet::{ApiError, ErrorClass};
use std::error::Error;
use std::time::Duration;

/// What an error code means before it is known whether the call changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Throttled,
    NoCapacity,
    Denied,
    NotFound,
    Conflict,
    Malformed,
    /// The server failed, at a point that it does not name: a write may have taken effect.
    ServerFault,
}

/// A code, and what it means.
type Row = (&'static str, Meaning);

/// Codes that every AWS service may answer.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CommonErrors.html>
const COMMON: &[Row] = &[
    ("AccessDenied", Meaning::Denied),
    ("AccessDeniedException", Meaning::Denied),
    ("ExpiredToken", Meaning::Denied),
    ("ExpiredTokenException", Meaning::Denied),
    ("IncompleteSignature", Meaning::Denied),
    ("InternalFailure", Meaning::ServerFault),
    ("InvalidClientTokenId", Meaning::Denied),
    ("InvalidSignatureException", Meaning::Denied),
    ("MissingAuthenticationToken", Meaning::Denied),
    ("NotAuthorized", Meaning::Denied),
    ("OptInRequired", Meaning::Denied),
    // The host's clock is off by more than AWS tolerates.
    ("RequestExpired", Meaning::Denied),
    ("ServiceUnavailable", Meaning::ServerFault),
    ("SignatureDoesNotMatch", Meaning::Denied),
    ("Throttling", Meaning::Throttled),
    ("ThrottlingException", Meaning::Throttled),
    ("TooManyRequestsException", Meaning::Throttled),
    ("UnrecognizedClientException", Meaning::Denied),
    ("ValidationError", Meaning::Malformed),
    ("ValidationException", Meaning::Malformed),
];

/// EC2's own codes, as far as the actions that muster calls answer them.
/// <https://docs.aws.amazon.com/ec2/latest/devguide/errors-overview.html>
const EC2: &[Row] = &[
    ("AuthFailure", Meaning::Denied),
    ("Blocked", Meaning::Denied),
    // A security group of an instance that has not ended yet.
    ("DependencyViolation", Meaning::Conflict),
    ("FleetNotInModifiableState", Meaning::Conflict),
    ("IncorrectInstanceState", Meaning::Conflict),
    ("IncorrectState", Meaning::Conflict),
    ("InstanceLimitExceeded", Meaning::NoCapacity),
    ("InsufficientCapacity", Meaning::NoCapacity),
    ("InsufficientFreeAddressesInSubnet", Meaning::NoCapacity),
    ("InsufficientHostCapacity", Meaning::NoCapacity),
    ("InsufficientInstanceCapacity", Meaning::NoCapacity),
    ("InsufficientReservedInstanceCapacity", Meaning::NoCapacity),
    ("InternalError", Meaning::ServerFault),
    ("InvalidAction", Meaning::Malformed),
    // An image is made of it.
    ("InvalidSnapshot.InUse", Meaning::Conflict),
    ("InvalidState", Meaning::Conflict),
    ("MaxSpotFleetRequestCountExceeded", Meaning::NoCapacity),
    ("MaxSpotInstanceCountExceeded", Meaning::NoCapacity),
    // Termination protection, among others.
    ("OperationNotPermitted", Meaning::Denied),
    ("PendingVerification", Meaning::Denied),
    ("RequestLimitExceeded", Meaning::Throttled),
    ("RequestResourceCountExceeded", Meaning::Malformed),
    ("ServerInternal", Meaning::ServerFault),
    ("SpotFleetRequestNotInModifiableState", Meaning::Conflict),
    ("SpotMaxPriceTooLow", Meaning::NoCapacity),
    ("UnauthorizedOperation", Meaning::Denied),
    ("Unavailable", Meaning::ServerFault),
    ("UnfulfillableCapacity", Meaning::NoCapacity),
    ("UnknownParameter", Meaning::Malformed),
    ("Unsupported", Meaning::NoCapacity),
    ("UnsupportedOperation", Meaning::Malformed),
    ("VcpuLimitExceeded", Meaning::NoCapacity),
];

/// CloudWatch's own codes, in the spellings of both its protocols.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>
const CLOUDWATCH: &[Row] = &[
    ("InternalServiceError", Meaning::ServerFault),
    ("InternalServiceFault", Meaning::ServerFault),
    ("InvalidNextToken", Meaning::Malformed),
    ("InvalidParameterCombination", Meaning::Malformed),
    ("InvalidParameterValue", Meaning::Malformed),
    ("LimitExceeded", Meaning::Throttled),
    ("LimitExceededException", Meaning::Throttled),
    ("MissingParameter", Meaning::Malformed),
];

/// Application Auto Scaling's own codes.
/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DescribeScalableTargets.html>
const AUTOSCALING: &[Row] = &[
    ("ConcurrentUpdateException", Meaning::Conflict),
    ("InternalServiceException", Meaning::ServerFault),
    ("InvalidNextTokenException", Meaning::Malformed),
    ("ObjectNotFoundException", Meaning::NotFound),
];

/// SQS's own codes, in the spellings of both its protocols.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
const SQS: &[Row] = &[
    ("AWS.SimpleQueueService.NonExistentQueue", Meaning::NotFound),
    ("AWS.SimpleQueueService.QueueDeletedRecently", Meaning::Conflict),
    ("AWS.SimpleQueueService.UnsupportedOperation", Meaning::Malformed),
    ("InvalidSecurity", Meaning::Denied),
    ("KMS.AccessDeniedException", Meaning::Denied),
    ("KMS.ThrottlingException", Meaning::Throttled),
    ("KmsAccessDenied", Meaning::Denied),
    ("KmsThrottled", Meaning::Throttled),
    // 120,000 messages are received and not deleted.
    ("OverLimit", Meaning::Throttled),
    ("QueueDoesNotExist", Meaning::NotFound),
    ("RequestThrottled", Meaning::Throttled),
];

/// SSM's own codes.
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>
const SSM: &[Row] = &[
    ("InternalServerError", Meaning::ServerFault),
    ("ParameterAlreadyExists", Meaning::Conflict),
    ("ParameterLimitExceeded", Meaning::NoCapacity),
    ("ParameterMaxVersionLimitExceeded", Meaning::Conflict),
    ("ParameterNotFound", Meaning::NotFound),
    ("ParameterVersionNotFound", Meaning::NotFound),
    ("TooManyUpdates", Meaning::Throttled),
];

/// What a code means, by the tables, then by the endings that EC2 keeps to.
fn meaning_of_code(service: &str, code: &str) -> Option<Meaning> {
    let own = match service {
        "ec2" => EC2,
        "cloudwatch" => CLOUDWATCH,
        "sqs" => SQS,
        "ssm" => SSM,
        _ => AUTOSCALING,
    };
    let listed = own.iter().chain(COMMON).find(|(known, _)| *known == code);
    listed.map(|(_, meaning)| *meaning).or_else(|| {
        let ends = |endings: &[&str]| endings.iter().any(|ending| code.ends_with(ending));
        if ends(&[".NotFound", ".NotFoundException", ".VersionNotFound"]) {
            Some(Meaning::NotFound)
        } else if ends(&[".Malformed"]) || code.starts_with("Invalid") || code.starts_with("Missing") {
            Some(Meaning::Malformed)
        } else {
            None
        }
    })
}

/// What a status means when the code says nothing.
const fn meaning_of_status(status: u16) -> Meaning {
    match status {
        429 => Meaning::Throttled,
        401 | 403 => Meaning::Denied,
        409 => Meaning::Conflict,
        500.. => Meaning::ServerFault,
        _ => Meaning::Malformed,
    }
}

const fn class_of(meaning: Meaning, effect: Effect, retry_after: Option<Duration>) -> ErrorClass {
    match meaning {
        Meaning::Throttled => ErrorClass::Throttled { retry_after },
        Meaning::NoCapacity => ErrorClass::NoCapacity,
        Meaning::Denied => ErrorClass::Denied,
        Meaning::NotFound => ErrorClass::NotFound,
        Meaning::Conflict => ErrorClass::Conflict,
        Meaning::Malformed => ErrorClass::Malformed,
        Meaning::ServerFault => unanswered(effect),
    }
}

/// The class of a call that was sent and brought no usable answer.
pub(crate) const fn unanswered(effect: Effect) -> ErrorClass {
    match effect {
        Effect::Read => ErrorClass::Transient,
        Effect::Write => ErrorClass::Unclear,
    }
}

/// An error of the call itself, without an answer of the service.
pub(crate) fn local(class: ErrorClass, action: Action, message: &str) -> ApiError {
    let facts = action.facts();
    ApiError::new(class, facts.service, facts.name, None, message)
}

/// What a failed call of the SDK means.
///
/// * Nothing reached the service (no connection, no credentials): `Transient`, or `Denied` where only an
///   operator can help.
/// * It may have been reached, and no whole answer came back: `Transient` for a read, `Unclear` for a write.
/// * It answered: by its code, else by the HTTP status.
pub(crate) fn classify<E>(action: Action, failure: &SdkError<E, HttpResponse>) -> ApiError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let facts = action.facts();
    let (class, code) = match failure {
        SdkError::ConstructionFailure(_) => (ErrorClass::Malformed, None),
        SdkError::DispatchFailure(_) => (class_of_dispatch(failure, facts.effect), None),
        SdkError::ResponseError(context) => {
            let status = context.raw().status().as_u16();
            // A whole status line, then nonsense: what nonsense with 200 means is not known.
            let class = if status < 300 {
                unanswered(facts.effect)
            } else {
                class_of(meaning_of_status(status), facts.effect, retry_after(context.raw()))
            };
            (class, None)
        }
        SdkError::ServiceError(context) => {
            let code = context.err().code();
            let meaning = code
                .and_then(|code| meaning_of_code(facts.service, code))
                .unwrap_or_else(|| meaning_of_status(context.raw().status().as_u16()));
            (class_of(meaning, facts.effect, retry_after(context.raw())), code)
        }
        // A timeout, or a kind that the SDK adds one day.
        _ => (unanswered(facts.effect), None),
    };
    let words = match failure {
        SdkError::ServiceError(context) => context.err().message().map(str::to_owned),
        _ => None,
    };
    let message = words.unwrap_or_else(|| chain(failure));
    let mut error = ApiError::new(class, facts.service, facts.name, code, &message);
    error.request_id =
        failure.request_id().map(str::to_owned).or_else(|| request_id_in(failure.raw_response()?));
    error
}

fn class_of_dispatch(failure: &(dyn Error + 'static), effect: Effect) -> ErrorClass {
    if let Some(credentials) = find::<CredentialsError>(failure) {
        return match credentials {
            CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
                ErrorClass::Denied
            }
            _ => ErrorClass::Transient,
        };
    }
    let connecting = find::<hyper_util::client::legacy::Error>(failure)
        .is_some_and(hyper_util::client::legacy::Error::is_connect);
    if connecting { ErrorClass::Transient } else { unanswered(effect) }
}

/// The error, then what caused it, and so on.
fn links<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// The first error of this type in the chain.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    links(error).find_map(|link| link.downcast_ref::<T>())
}

/// EC2 repeats the request's id in the body of its errors; what stands between us and EC2 may drop the header.
fn request_id_in(response: &HttpResponse) -> Option<String> {
    let body = String::from_utf8_lossy(response.body().bytes()?);
    let (id, _) = body.split_once("<RequestID>")?.1.split_once("</RequestID>")?;
    Some(id.to_owned())
}

/// `Retry-After` in seconds, where the answer has one. AWS sends no dates there.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    response.headers().get("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(action: Action, code: &str) -> Option<&'static str> {
        let facts = action.facts();
        meaning_of_code(facts.service, code).map(|meaning| class_of(meaning, facts.effect, None).label())
    }

    #[test]
    fn codes_have_the_class_that_their_documentation_gives_them() {
        for (action, code, expected) in [
            (Action::DescribeFleets, "RequestLimitExceeded", "throttled"),
            (Action::ModifyFleet, "RequestLimitExceeded", "throttled"),
            (Action::GetMetricData, "ThrottlingException", "throttled"),
            (Action::DescribeFleets, "UnauthorizedOperation", "denied"),
            (Action::GetMetricData, "AccessDenied", "denied"),
            (Action::DescribeFleets, "RequestExpired", "denied"),
            (Action::ModifySpotFleetRequest, "FleetNotInModifiableState", "conflict"),
            (Action::ModifySpotFleetRequest, "InvalidSpotFleetRequestId.NotFound", "not_found"),
            (Action::ModifyFleet, "InvalidFleetId.NotFound", "not_found"),
            (Action::TerminateInstances, "InvalidInstanceID.NotFound", "not_found"),
            (Action::TerminateInstances, "InvalidInstanceID.Malformed", "malformed"),
            (Action::DescribeLaunchTemplateVersions, "InvalidLaunchTemplateId.VersionNotFound", "not_found"),
            (
                Action::DescribeLaunchTemplateVersions,
                "InvalidLaunchTemplateName.NotFoundException",
                "not_found",
            ),
            (Action::ModifyFleet, "InsufficientInstanceCapacity", "no_capacity"),
            (Action::ModifyFleet, "InvalidParameterValue", "malformed"),
            (Action::ModifyFleet, "MissingParameter", "malformed"),
            (Action::GetMetricData, "InvalidParameterValueException", "malformed"),
            (Action::DescribeScalableTargets, "ObjectNotFoundException", "not_found"),
            (Action::ReceiveMessage, "AWS.SimpleQueueService.NonExistentQueue", "not_found"),
            (Action::ReceiveMessage, "OverLimit", "throttled"),
            (Action::DeleteMessageBatch, "AccessDenied", "denied"),
            (Action::PutParameter, "ParameterAlreadyExists", "conflict"),
            (Action::PutParameter, "TooManyUpdates", "throttled"),
            (Action::GetParameter, "ParameterNotFound", "not_found"),
            (Action::DeregisterImage, "InvalidAMIID.NotFound", "not_found"),
            (Action::DeleteSnapshot, "InvalidSnapshot.InUse", "conflict"),
            (Action::DeleteSecurityGroup, "DependencyViolation", "conflict"),
            (Action::DeleteSecurityGroup, "InvalidGroup.NotFound", "not_found"),
        ] {
            assert_eq!(class(action, code), Some(expected), "{code} of {action:?}");
        }
        assert_eq!(class(Action::DescribeFleets, "SomethingNew"), None);
    }

    #[test]
    fn a_fault_of_the_server_leaves_only_writes_unclear() {
        for code in ["InternalError", "Unavailable", "ServiceUnavailable", "InternalFailure"] {
            assert_eq!(class(Action::DescribeFleets, code), Some("transient"), "{code}");
            assert_eq!(class(Action::ModifyFleet, code), Some("unclear"), "{code}");
        }
    }

    #[test]
    fn no_code_is_listed_twice_and_each_table_is_in_order() {
        for table in [EC2, CLOUDWATCH, AUTOSCALING, SQS, SSM, COMMON] {
            for pair in table.windows(2) {
                assert!(pair[0].0 < pair[1].0, "{} stands before {}", pair[0].0, pair[1].0);
            }
        }
        for own in [EC2, CLOUDWATCH, AUTOSCALING, SQS, SSM] {
            for (code, _) in own {
                assert!(COMMON.iter().all(|(common, _)| common != code), "{code} is in two tables");
            }
        }
    }

    #[test]
    fn a_status_speaks_only_where_no_code_does() {
        for (status, meaning) in [
            (400, Meaning::Malformed),
            (401, Meaning::Denied),
            (403, Meaning::Denied),
            (404, Meaning::Malformed),
            (409, Meaning::Conflict),
            (429, Meaning::Throttled),
            (500, Meaning::ServerFault),
            (503, Meaning::ServerFault),
        ] {
            assert_eq!(meaning_of_status(status), meaning, "{status}");
        }
    }
}
