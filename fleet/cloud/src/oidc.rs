//! OpenID Connect providers that the account trusts: for their tokens STS gives a role's keys.

use fleet::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

/// A provider, with what a role's trust policy asks of its tokens.
#[derive(Clone, Debug)]
pub struct OidcProvider {
    /// The keys that it signs with.
    pub keys: JwkSet,
    /// For whom its tokens are to be: `sts.amazonaws.com`.
    pub audience: String,
    /// Of whom they are to be, as in IAM's `StringLike`; a `*` at its end stands for anything.
    pub subject: String,
}

/// What a token says that is looked at here; the audience is looked at where its signature is.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    #[serde(default)]
    nbf: i64,
}

impl OidcProvider {
    /// Whose token this is, where it is one that this provider has signed and the role takes now.
    pub(crate) fn subject_of(&self, token: &str, now: Timestamp) -> Option<String> {
        let header = decode_header(token).ok()?;
        let key = self.keys.find(header.kid.as_deref()?)?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[&self.audience]);
        // Time is the caller's, as everywhere.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        let claims = decode::<Claims>(token, &DecodingKey::from_jwk(key).ok()?, &validation).ok()?.claims;
        let is_wanted = match self.subject.strip_suffix('*') {
            Some(beginning) => claims.sub.starts_with(beginning),
            None => claims.sub == self.subject,
        };
        let is_now = (claims.nbf..claims.exp).contains(&now.secs());
        (is_wanted && is_now).then_some(claims.sub)
    }
}
