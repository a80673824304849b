//! What happens to every request: found its service, believed, counted, made to fail where that is asked for,
//! carried out, answered.

use crate::config::Secret;
use crate::control;
use crate::faults::FaultKind;
use crate::imds;
use crate::keys::{Key, Principal};
use crate::request::Request;
use crate::route::{Call, Route, route};
use crate::service::{AuthError, Counted, Operation, Service};
use crate::shared::{Context, Failure, Shared, locked};
use crate::sigv4::Authorization;
use crate::sqs;
use crate::wire::{Answer, AwsError, Data};
use bytes::Bytes;
use fleet::{ErrorClass, Timestamp};
use fleet_sim::Action;
use http::{Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

/// What the client gets to see.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An answer.
    Answer(Answer),
    /// Half of an answer, then the end of the connection.
    Cut(Answer),
    /// The end of the connection.
    Close,
}

/// Operations that are not signed, because they are what gives one a key.
const UNSIGNED: &[&str] = &["AssumeRoleWithWebIdentity"];

/// Carries out a request.
///
/// * `stopping`: long polls end when it turns true.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    request: Request,
    stopping: watch::Receiver<bool>,
) -> Outcome {
    let request = Arc::new(request);
    match route(&request) {
        Route::Control(path) => Outcome::Answer(control::answer(shared, &request, path)),
        Route::Metadata { instance, path } => metadata(shared, &request, instance, path).await,
        // Who waits for messages takes none once the connection is gone.
        Route::Aws(call) if call.operation == sqs::RECEIVE_MESSAGE => {
            aws(shared, &request, call, stopping).await
        }
        // What has been received is carried out, whoever hangs up meanwhile.
        Route::Aws(call) => {
            let (shared, request) = (Arc::clone(shared), Arc::clone(&request));
            let carried = tokio::spawn(async move { aws(&shared, &request, call, stopping).await });
            carried.await.unwrap_or(Outcome::Close)
        }
        Route::Unreadable { protocol, error } => {
            Outcome::Answer(protocol.refusal(&shared.request_id(), &error))
        }
        Route::Unknown => Outcome::Answer(plain(StatusCode::NOT_FOUND, "nothing is served here\n")),
    }
}

/// An answer in plain text.
pub(crate) fn plain(status: StatusCode, text: impl Into<String>) -> Answer {
    let mut answer = Response::new(Bytes::from(text.into()));
    *answer.status_mut() = status;
    answer
}

async fn metadata(shared: &Shared, request: &Request, instance: Option<&str>, path: &str) -> Outcome {
    let Some(instance) = imds::instance_of(shared, request, instance) else {
        return Outcome::Answer(plain(StatusCode::NOT_FOUND, "no instance has this address\n"));
    };
    match strike(shared, "imds", instance.id.as_str()).await {
        Struck::Before(FaultKind::CloseBefore) => Outcome::Close,
        Struck::Before(FaultKind::Refuse { status, .. }) => Outcome::Answer(plain(status_of(status), "")),
        Struck::Before(FaultKind::Deny) => Outcome::Answer(plain(StatusCode::FORBIDDEN, "")),
        Struck::Before(_) => Outcome::Answer(plain(StatusCode::SERVICE_UNAVAILABLE, "")),
        Struck::After(kind) => {
            let answer = imds::answer(shared, request, &instance, path);
            laid_on(kind.as_ref(), answer, || plain(StatusCode::INTERNAL_SERVER_ERROR, ""))
        }
    }
}

async fn aws(shared: &Shared, request: &Request, call: Call, stopping: watch::Receiver<bool>) -> Outcome {
    let Call { service, protocol, operation, input } = call;
    let request_id = shared.request_id();
    let refuse = |error: &AwsError| protocol.refusal(&request_id, error);
    let (key, principal) = match authenticate(shared, request, service, &operation) {
        Ok(signer) => signer,
        Err(error) => {
            return Outcome::Answer(refuse(&service.unauthenticated(&error, shared.host.wall())));
        }
    };
    let Some(known) = service.operations().find(|known| known.name == operation) else {
        return Outcome::Answer(refuse(&protocol.unknown_operation(&operation)));
    };
    let caller = request.app_id().unwrap_or(&key);
    let context =
        Context { shared, caller, principal: &principal, host: request.header("host").unwrap_or_default() };
    let after = match strike(shared, known.name, caller).await {
        Struck::After(kind) => kind,
        Struck::Before(kind) => {
            // Counted all the same: a call that fails is a call.
            let _ = shared.world().admit(caller, Action(known.name));
            return before(&kind, &context, service, known, refuse);
        }
    };
    let action = Action(known.name);
    let counted = shared.world().calls().of(caller, action).calls;
    let result = carry_out(&context, service, known, &input, stopping).await;
    if matches!(result, Err(Failure::Refused(_)))
        && shared.world().calls().of(caller, action).calls == counted
    {
        // Refused for its form before the world heard of it: a call all the same.
        let _ = shared.world().admit(caller, action);
    }
    let answer = match result {
        Ok(value) => protocol.success(known.name, &request_id, &value),
        // It took effect, and nobody is told.
        Err(Failure::World(error)) if error.class == ErrorClass::Unclear => return Outcome::Close,
        Err(Failure::World(error)) => refuse(&service.world_refused(&error)),
        Err(Failure::Refused(error)) => refuse(&error),
    };
    laid_on(after.as_ref(), answer, || refuse(&internal_error()))
}

async fn carry_out(
    context: &Context<'_>,
    service: Service,
    operation: &Operation,
    input: &Data,
    stopping: watch::Receiver<bool>,
) -> Result<Data, Failure> {
    if operation.counted == Counted::ByGate {
        context.world().admit(context.caller, Action(operation.name))?;
    }
    if service == Service::Ec2 && input.get("DryRun").as_bool() == Some(true) {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(AwsError::new("DryRunOperation", message)
            .with_status(StatusCode::PRECONDITION_FAILED)
            .into());
    }
    if operation.name == sqs::RECEIVE_MESSAGE {
        return sqs::poll(context, input, stopping).await;
    }
    (operation.run)(context, input)
}

/// Who signed a request: their access key, and who that is.
fn authenticate(
    shared: &Shared,
    request: &Request,
    service: Service,
    operation: &str,
) -> Result<(String, Principal), AuthError> {
    if UNSIGNED.contains(&operation) && service == Service::Sts {
        return Ok(("anonymous".to_owned(), Principal::User("anonymous".to_owned())));
    }
    let authorization = Authorization::of(request).map_err(AuthError::Signature)?;
    let key = locked(&shared.keys).find(&authorization.access_key).ok_or(AuthError::UnknownKey)?;
    let now = shared.host.wall();
    authorization.verify(request, key.secret.reveal(), now).map_err(AuthError::Signature)?;
    check_session(&key, request.header("x-amz-security-token"), now)?;
    if authorization.service != service.signing_name() {
        return Err(AuthError::Scope(format!("correct service: '{}'", service.signing_name())));
    }
    let region = shared.world().spec().region.clone();
    // STS has one endpoint for all the world, whose signatures name us-east-1.
    if service != Service::Sts && authorization.region != region.as_str() {
        let message = format!("a valid region, not '{}': this one is '{region}'", authorization.region);
        return Err(AuthError::Scope(message));
    }
    Ok((key.id, key.principal))
}

/// Checks the token of an issued key and its end; a configured key has neither.
///
/// * `now`: the host's time.
fn check_session(key: &Key, token: Option<&str>, now: Timestamp) -> Result<(), AuthError> {
    match (&key.session, token) {
        (None, None) => Ok(()),
        (Some(session), Some(token)) if same(&session.token, token) => {
            if session.expires <= now {
                Err(AuthError::Expired)
            } else {
                Ok(())
            }
        }
        _ => Err(AuthError::UnknownKey),
    }
}

fn same(secret: &Secret, shown: &str) -> bool {
    secret.reveal().as_bytes().ct_eq(shown.as_bytes()).into()
}

/// What the faults in force make of a request.
enum Struck {
    /// It is not carried out.
    Before(FaultKind),
    /// It is carried out; then this happens to its answer.
    After(Option<FaultKind>),
}

async fn strike(shared: &Shared, action: &'static str, caller: &str) -> Struck {
    let slow = shared.world().latency(Action(action));
    if slow > Duration::ZERO {
        shared.pace.sleep_world(slow).await;
    }
    let mut after = None;
    for kind in shared.faults.strike(action, caller) {
        match kind {
            FaultKind::Latency { millis } => shared.pace.sleep(Duration::from_millis(millis)).await,
            FaultKind::CloseAfter | FaultKind::FailAfter | FaultKind::CutAnswer => after = Some(kind),
            FaultKind::Throttle | FaultKind::Deny | FaultKind::Refuse { .. } | FaultKind::CloseBefore => {
                return Struck::Before(kind);
            }
        }
    }
    Struck::After(after)
}

fn before(
    kind: &FaultKind,
    context: &Context<'_>,
    service: Service,
    operation: &Operation,
    refuse: impl Fn(&AwsError) -> Answer,
) -> Outcome {
    let error = match kind {
        FaultKind::CloseBefore => return Outcome::Close,
        FaultKind::Deny => {
            let account = context.world().spec().account.clone();
            service.denied(&context.principal.arn(&account), operation.name)
        }
        FaultKind::Refuse { status, code } => {
            AwsError::new(code, "refused by a fault").with_status(status_of(*status))
        }
        _ => service.throttled(),
    };
    Outcome::Answer(refuse(&error))
}

fn laid_on(kind: Option<&FaultKind>, answer: Answer, fail: impl FnOnce() -> Answer) -> Outcome {
    match kind {
        Some(FaultKind::CloseAfter) => Outcome::Close,
        Some(FaultKind::CutAnswer) => Outcome::Cut(answer),
        Some(FaultKind::FailAfter) => Outcome::Answer(fail()),
        _ => Outcome::Answer(answer),
    }
}

fn internal_error() -> AwsError {
    AwsError::new("InternalError", "An internal error has occurred")
        .with_status(StatusCode::INTERNAL_SERVER_ERROR)
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Credential;
    use crate::keys::Keys;

    #[test]
    fn an_issued_key_needs_its_token_and_ends() {
        let at = Timestamp::from_secs;
        let mut keys = Keys::new(&[Credential::new("muster", "s")], 1);
        let role = Principal::Role { role: "node".into(), session: "i-1".into() };
        let (issued, session) = keys.issue(role, at(0), Duration::from_secs(900));
        let token = session.token.reveal();
        assert_eq!(check_session(&issued, Some(token), at(899)), Ok(()));
        assert_eq!(check_session(&issued, Some(token), at(900)), Err(AuthError::Expired));
        assert_eq!(check_session(&issued, Some("another"), at(0)), Err(AuthError::UnknownKey));
        assert_eq!(check_session(&issued, None, at(0)), Err(AuthError::UnknownKey));
        let configured = keys.find("muster").expect("configured");
        assert_eq!(check_session(&configured, None, at(1_000_000)), Ok(()));
        assert_eq!(check_session(&configured, Some(token), at(0)), Err(AuthError::UnknownKey));
    }

    #[test]
    fn a_fault_after_the_effect_changes_what_is_seen_of_it() {
        let seen = |kind: Option<FaultKind>| {
            laid_on(kind.as_ref(), plain(StatusCode::OK, "done"), || {
                plain(StatusCode::INTERNAL_SERVER_ERROR, "")
            })
        };
        assert!(matches!(seen(None), Outcome::Answer(answer) if answer.status() == 200));
        assert!(
            matches!(seen(Some(FaultKind::FailAfter)), Outcome::Answer(answer) if answer.status() == 500)
        );
        assert!(matches!(seen(Some(FaultKind::CutAnswer)), Outcome::Cut(answer) if answer.body() == "done"));
        assert!(matches!(seen(Some(FaultKind::CloseAfter)), Outcome::Close));
    }
}
