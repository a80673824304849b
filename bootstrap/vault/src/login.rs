//! Logging in.

use crate::answer::Auth;
use crate::client::{Call, Client};
use crate::{Destination, Method, SecretId, VaultError, place, tls};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bootstrap_core::{Failure, Secret};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// Ids, wrapping tokens and JWTs; a JWT with many claims has a few KiB.
const MOST_BYTES: u64 = 64 * 1024;

/// A request to STS that proves who we are, signed for Vault to send.
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// `POST`.
    pub method: String,
    /// Where to, without a query.
    pub url: String,
    /// The body.
    pub body: String,
    /// All headers but `Host`; the signature and the session's token are among them.
    pub headers: Vec<(String, Secret)>,
}

/// A login request on its way, or why there is none.
pub type Signing = Pin<Box<dyn Future<Output = Result<LoginRequest, Failure>> + Send>>;

/// Who signs login requests for the method AWS, at the time of the call. A closure will do:
/// `Arc::new(move || -> Signing { Box::pin(async move { .. }) })`.
pub trait SignLogin: Send + Sync {
    /// Signs one. Safe to repeat: it changes nothing.
    fn sign(&self) -> Signing;
}

impl<F: Fn() -> Signing + Send + Sync> SignLogin for F {
    fn sign(&self) -> Signing {
        self()
    }
}

/// The secret id that was unwrapped, and of which wrapping token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Unwrapped {
    /// SHA-256, in base64.
    of: String,
    secret_id: Secret,
}

impl fmt::Debug for Unwrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is remembered from one login to the next. Held while a secret id is unwrapped.
pub(crate) type Memory = Arc<Mutex<Option<Unwrapped>>>;

/// Logs in.
pub(crate) async fn login(
    client: &Client,
    method: &Method,
    signer: Option<&dyn SignLogin>,
    memory: &Memory,
) -> Result<Auth, VaultError> {
    match method {
        Method::Aws { mount, role } => aws(client, mount, role, signer).await,
        Method::AppRole { mount, role_id, secret_id } => {
            let role_id = text(role_id).await?;
            match secret_id {
                SecretId::Plain { file } => approle(client, mount, &role_id, &text(file).await?).await,
                SecretId::Wrapped { file, creation_path, keep } => {
                    let (file, creation_path, keep) = (file.clone(), creation_path.clone(), keep.clone());
                    let wrapped = Arc::new(Wrapped { file, creation_path, keep });
                    let secret_id =
                        Arc::clone(&wrapped).secret_id(client.clone(), Arc::clone(memory)).await?;
                    wrapped.judge(approle(client, mount, &role_id, &secret_id).await)
                }
            }
        }
        Method::Jwt { mount, role, file } => {
            let jwt = text(file).await?;
            let path = format!("auth/{mount}/login");
            let body = Jwt { role, jwt: jwt.expose() };
            auth(client, Call::post(&path, &body).hiding(vec![&jwt])).await
        }
    }
}

#[derive(Serialize)]
struct Jwt<'a> {
    role: &'a str,
    jwt: &'a str,
}

#[derive(Serialize)]
struct AppRole<'a> {
    role_id: &'a str,
    secret_id: &'a str,
}

#[derive(Serialize)]
struct Aws<'a> {
    role: &'a str,
    iam_http_request_method: &'a str,
    iam_request_url: &'a str,
    iam_request_body: &'a str,
    iam_request_headers: &'a str,
}

async fn approle(
    client: &Client,
    mount: &str,
    role_id: &Secret,
    secret_id: &Secret,
) -> Result<Auth, VaultError> {
    let path = format!("auth/{mount}/login");
    let body = AppRole { role_id: role_id.expose(), secret_id: secret_id.expose() };
    auth(client, Call::post(&path, &body).hiding(vec![role_id, secret_id])).await
}

async fn aws(
    client: &Client,
    mount: &str,
    role: &str,
    signer: Option<&dyn SignLogin>,
) -> Result<Auth, VaultError> {
    let nobody = || Failure::lasting(fleet::ErrorClass::Malformed, "nobody signs for the method aws");
    let request = signer.ok_or_else(|| VaultError::Sign(nobody()))?.sign().await.map_err(VaultError::Sign)?;
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in &request.headers {
        headers.entry(name).or_default().push(value.expose());
    }
    // A map of texts is always JSON.
    let headers = Zeroizing::new(serde_json::to_vec(&headers).unwrap_or_default());
    let headers = Zeroizing::new(BASE64.encode(&*headers));
    let body = Aws {
        role,
        iam_http_request_method: &request.method,
        iam_request_url: &BASE64.encode(&request.url),
        iam_request_body: &BASE64.encode(&request.body),
        iam_request_headers: &headers,
    };
    let path = format!("auth/{mount}/login");
    // STS quotes what it was sent, the session's token included, when a signature does not hold.
    let secrets = request.headers.iter().map(|(_, value)| value);
    let secrets = secrets.filter(|value| value.expose().len() >= 32).collect();
    auth(client, Call::post(&path, &body).hiding(secrets)).await
}

/// Sends a login and takes its token.
async fn auth(client: &Client, call: Call<'_>) -> Result<Auth, VaultError> {
    let name = format!("{} {}", call.method, call.path);
    let auth = client.call(call).await?.auth;
    auth.filter(|auth| !auth.client_token.is_empty()).ok_or_else(|| VaultError::Garbage {
        call: name,
        // Such as when a second factor is asked for.
        why: "it has no token in it".to_owned(),
    })
}

/// A secret id that came wrapped.
struct Wrapped {
    file: PathBuf,
    creation_path: String,
    keep: Option<PathBuf>,
}

impl Wrapped {
    /// The secret id, in a task of its own: a login that is given up half way must not lose what was unwrapped for it,
    /// since it cannot be had again.
    async fn secret_id(self: Arc<Self>, client: Client, memory: Memory) -> Result<Secret, VaultError> {
        let task =
            tokio::spawn(async move { self.held_or_unwrapped(&client, &mut *memory.lock().await).await });
        match task.await {
            Ok(result) => result,
            // Nobody aborts it: it panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// The secret id: the one that was unwrapped before, or the one in the token that is there now.
    async fn held_or_unwrapped(
        &self,
        client: &Client,
        known: &mut Option<Unwrapped>,
    ) -> Result<Secret, VaultError> {
        if known.is_none() {
            *known = self.kept().await;
        }
        let token = match text(&self.file).await {
            Ok(token) => token,
            // Whoever brought it may have taken it away when it was used.
            Err(error) => return known.as_ref().map(|known| known.secret_id.clone()).ok_or(error),
        };
        let of = digest(&token);
        if let Some(known) = known.as_ref().filter(|known| known.of == of) {
            // Written by now, unless the file system had no room for it before.
            self.keep(known)?;
            return Ok(known.secret_id.clone());
        }
        let secret_id = self.unwrap(client, &token).await?;
        // From here on it is ours alone, and lost if we are before it is kept.
        let fresh = known.insert(Unwrapped { of, secret_id });
        self.keep(fresh)?;
        Ok(fresh.secret_id.clone())
    }

    /// Checks what made the token, then unwraps it.
    async fn unwrap(&self, client: &Client, token: &Secret) -> Result<Secret, VaultError> {
        const LOOKUP: &str = "sys/wrapping/lookup";
        const UNWRAP: &str = "sys/wrapping/unwrap";
        #[derive(Serialize)]
        struct Lookup<'a> {
            token: &'a str,
        }
        let gone = |error| match error {
            // What Vault and OpenBao say to a token that they do not know (any more). A proxy has other words.
            VaultError::Refused { words, .. } | VaultError::Denied { words, .. }
                if words.contains("wrapping token") =>
            {
                VaultError::AlreadyUnwrapped { file: self.file.clone() }
            }
            // Between our two calls.
            VaultError::TokenInvalid { .. } => VaultError::AlreadyUnwrapped { file: self.file.clone() },
            other => other,
        };
        let call = Call::post(LOOKUP, &Lookup { token: token.expose() }).hiding(vec![token]);
        let found = client.call(call).await.map_err(gone)?;
        let found = found.data.as_ref().and_then(|data| data.text("creation_path"));
        let found = found.map(Secret::expose).unwrap_or_default();
        if found != self.creation_path {
            return Err(VaultError::WrongCreationPath {
                file: self.file.clone(),
                expected: self.creation_path.clone(),
                found: found.chars().take(256).collect(),
            });
        }
        let nothing: BTreeMap<&str, &str> = BTreeMap::new();
        let data = client.call(Call::post(UNWRAP, &nothing).with(token)).await.map_err(gone)?.data;
        let secret_id = data.as_ref().and_then(|data| data.text("secret_id")).filter(|id| !id.is_empty());
        secret_id.cloned().ok_or_else(|| VaultError::Garbage {
            call: format!("POST {UNWRAP}"),
            why: "it has no secret_id in it".to_owned(),
        })
    }

    /// What a login with the secret id came to: refused, it is spent.
    fn judge(&self, answer: Result<Auth, VaultError>) -> Result<Auth, VaultError> {
        answer.map_err(|error| match error {
            VaultError::Refused { status: 400, words, .. } if words.contains("secret") => {
                VaultError::SecretIdSpent { file: self.file.clone() }
            }
            other => other,
        })
    }

    async fn kept(&self) -> Option<Unwrapped> {
        let text = text(self.keep.as_deref()?).await.ok()?;
        let (of, secret_id) = text.expose().split_once('\n')?;
        Some(Unwrapped { of: of.to_owned(), secret_id: Secret::new(secret_id.trim()) })
    }

    fn keep(&self, fresh: &Unwrapped) -> Result<(), VaultError> {
        let Some(path) = &self.keep else { return Ok(()) };
        let contents = Secret::new(format!("{}\n{}\n", fresh.of, fresh.secret_id.expose()));
        place::write(&Destination::private(path), &contents)?;
        Ok(())
    }
}

fn digest(token: &Secret) -> String {
    BASE64.encode(ring::digest::digest(&ring::digest::SHA256, token.expose().as_bytes()))
}

/// A file's text without the white space around it; that there is none is an error.
async fn text(path: &Path) -> Result<Secret, VaultError> {
    let bytes = tls::bounded(path, MOST_BYTES).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| VaultError::unusable(path, "it is no text"))?.trim();
    if text.is_empty() { Err(VaultError::unusable(path, "it is empty")) } else { Ok(Secret::new(text)) }
}
