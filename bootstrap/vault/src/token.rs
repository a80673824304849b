//! The token: had by a login, renewed while that helps, had anew when it no longer does.

use crate::VaultError;
use crate::answer::Auth;
use crate::client::{Call, Client};
use bootstrap_core::{Lifetime, Renewal, Secret};
use serde::Serialize;
use std::time::Duration;

/// What never ends is looked at as if it lasted this long.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A token that we hold.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) secret: Secret,
    pub(crate) lifetime: Lifetime,
    /// What the login gave: a renewal that gives less than half of it is near the token's greatest age.
    pub(crate) given: Duration,
    /// Failed renewals since the last one that came off.
    failures: u32,
    /// No renewal before this time: the server said so.
    not_before: Duration,
}

impl Token {
    /// Of a login that was begun at this monotonic time.
    pub(crate) fn of(auth: Auth, asked: Duration) -> Self {
        let given = lasting(auth.lease_duration);
        let lifetime =
            Lifetime { from: asked, lasts: given, renewable: auth.renewable && auth.lease_duration > 0 };
        Self { secret: auth.client_token, lifetime, given, failures: 0, not_before: Duration::ZERO }
    }

    /// One that a process before this one had.
    pub(crate) const fn resumed(secret: Secret, lifetime: Lifetime, given: Duration) -> Self {
        Self { secret, lifetime, given, failures: 0, not_before: Duration::ZERO }
    }

    /// What is to be done about it.
    pub(crate) fn next(&self, now: Duration, seed: u64) -> Renewal {
        match self.lifetime.next(now, self.failures, seed) {
            Renewal::Renew if now < self.not_before => {
                // The last fifth is for another one, whatever the server said.
                let Lifetime { from, lasts, .. } = self.lifetime;
                let last = from.saturating_add(lasts.saturating_sub(lasts / 5));
                if now < last { Renewal::At(self.not_before.min(last)) } else { Renewal::Replace }
            }
            next => next,
        }
    }

    /// Asks for more time.
    pub(crate) async fn renew(&mut self, client: &Client, now: Duration) -> Result<(), VaultError> {
        #[derive(Serialize)]
        struct Renew {
            increment: String,
        }
        const PATH: &str = "auth/token/renew-self";
        let body = Renew { increment: format!("{}s", self.given.as_secs()) };
        match client.call(Call::post(PATH, &body).with(&self.secret)).await {
            Ok(envelope) => {
                let auth = envelope.auth.ok_or_else(|| VaultError::Garbage {
                    call: format!("POST {PATH}"),
                    why: "it has no auth in it".to_owned(),
                })?;
                let lasts = lasting(auth.lease_duration);
                // Renewals that give less and less would go on until there is nothing left, and no time for a login.
                let renewable = auth.renewable && lasts.saturating_mul(2) >= self.given;
                self.lifetime = Lifetime { from: now, lasts, renewable };
                self.failures = 0;
                Ok(())
            }
            Err(error) => {
                self.failures += 1;
                if let VaultError::Throttled { retry_after: Some(after), .. } = &error {
                    self.not_before = now.saturating_add(*after);
                }
                if matches!(error, VaultError::Refused { .. } | VaultError::Denied { .. }) {
                    // Not renewable after all, or not by our policies: it lives as long as it does.
                    self.lifetime.renewable = false;
                }
                Err(error)
            }
        }
    }

    /// Revokes it, and with it every lease that was had by it.
    pub(crate) async fn revoke(&self, client: &Client) -> Result<(), VaultError> {
        #[derive(Serialize)]
        struct Nothing {}
        let call = Call::post("auth/token/revoke-self", &Nothing {}).with(&self.secret);
        match client.call(call).await {
            // Gone already: as wanted.
            Ok(_) | Err(VaultError::TokenInvalid { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }
}

const fn lasting(seconds: u64) -> Duration {
    if seconds == 0 { FOR_EVER } else { Duration::from_secs(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_without_an_end_is_neither_renewed_nor_replaced() {
        let auth = Auth { client_token: Secret::new("hvs.x"), lease_duration: 0, renewable: true };
        let token = Token::of(auth, Duration::from_secs(5));
        let Renewal::At(at) = token.next(Duration::from_secs(86_400), 7) else { panic!("nothing is due") };
        assert!(at > Duration::from_secs(365 * 86_400));
    }
}
