//! STS: who one is, and keys for those who can show a token.

use crate::keys::Principal;
use crate::service::Operation;
use crate::shared::{Context, Failure, locked};
use crate::wire::{AwsError, Data, map};
use std::time::Duration;
use subtle::ConstantTimeEq;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_gate("GetCallerIdentity", get_caller_identity),
    Operation::by_gate("AssumeRoleWithWebIdentity", assume_role_with_web_identity),
];

#[expect(clippy::unnecessary_wraps, reason = "one of a table of operations, most of which can fail")]
fn get_caller_identity(context: &Context<'_>, _: &Data) -> Result<Data, Failure> {
    let account = context.world().spec().account.clone();
    Ok(map([
        ("Arn", context.principal.arn(&account).into()),
        ("UserId", context.principal.user_id().into()),
        ("Account", account.into()),
    ]))
}

/// Gives a key for a token of the configuration, or of a provider that the account trusts: what
/// `AWS_WEB_IDENTITY_TOKEN_FILE` is for.
fn assume_role_with_web_identity(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let missing = |name: &str| {
        AwsError::new(
            "ValidationError",
            format!(
                "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
            ),
        )
    };
    let role_arn = input.get("RoleArn").as_str().ok_or_else(|| missing("roleArn"))?;
    let session = input.get("RoleSessionName").as_str().ok_or_else(|| missing("roleSessionName"))?;
    let token = input.get("WebIdentityToken").as_str().ok_or_else(|| missing("webIdentityToken"))?;
    let account = context.world().spec().account.clone();
    let role = role_arn
        .strip_prefix("arn:aws:iam::")
        .and_then(|rest| rest.strip_prefix(&account))
        .and_then(|rest| rest.strip_prefix(":role/"))
        .and_then(|path| path.rsplit('/').next())
        .filter(|role| !role.is_empty())
        .ok_or_else(|| AwsError::new("ValidationError", "Request ARN is invalid"))?;
    let given = context.shared.web_identity_tokens.iter();
    let mut given =
        given.map(|secret| bool::from(secret.reveal().trim().as_bytes().ct_eq(token.trim().as_bytes())));
    let now = context.shared.host.wall();
    let signed =
        || locked(&context.shared.providers).iter().find_map(|one| one.subject_of(token.trim(), now));
    let subject = if given.any(|same| same) { Some(session.to_owned()) } else { signed() };
    let Some(subject) = subject else {
        let message = "No OpenIDConnect provider found in your account for this token";
        return Err(AwsError::new("InvalidIdentityToken", message).into());
    };
    let seconds = match input.get("DurationSeconds") {
        Data::Null => 3600,
        given => given
            .as_u32()
            .filter(|seconds| (900..=43_200).contains(seconds))
            .ok_or_else(|| AwsError::new("ValidationError", "DurationSeconds must be from 900 to 43200"))?,
    };
    let principal = Principal::Role { role: role.to_owned(), session: session.to_owned() };
    let (arn, id) = (principal.arn(&account), principal.user_id());
    let lasting = Duration::from_secs(seconds.into());
    let (key, issued) = locked(&context.shared.keys).issue(principal, now, lasting);
    Ok(map([
        ("SubjectFromWebIdentityToken", subject.into()),
        ("AssumedRoleUser", map([("Arn", arn.into()), ("AssumedRoleId", id.into())])),
        (
            "Credentials",
            map([
                ("AccessKeyId", key.id.into()),
                ("SecretAccessKey", key.secret.reveal().into()),
                ("SessionToken", issued.token.reveal().into()),
                ("Expiration", issued.expires.into()),
            ]),
        ),
    ]))
}
