//! The private registry: its credentials are tried, by fetching a manifest with them.

use crate::http::{client, secret_of, send};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bootstrap_config::RegistrySettings;
use bootstrap_core::Failure;
use fleet::ErrorClass;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, Request, Url};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

const SERVICE: &str = "the registry";
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Every form that Docker pulls.
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// Docker's `config.json`, as far as it is ours to read.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}
#[derive(Deserialize)]
struct Auth {
    auth: Zeroizing<String>,
}

/// Fetches the manifest of the settings' image with the credentials that the work will be pulled with.
pub async fn try_manifest(settings: &RegistrySettings) -> Result<(), Failure> {
    let (registry, name, tag) = parts(&settings.image).ok_or_else(|| {
        Failure::lasting(ErrorClass::Malformed, format_args!("{} is no image", settings.image))
    })?;
    let auth = credentials(settings, registry)?;
    let scheme = if settings.insecure { "http" } else { "https" };
    let address = format!("{scheme}://{registry}");
    let ca = settings.ca_file.as_deref();
    let client = client(SERVICE, ca)?;
    let url = format!("{address}/v2/{name}/manifests/{tag}");
    let basic = Zeroizing::new(format!("Basic {}", auth.as_str()));
    let mut reply = fetch(&client, &address, &url, &basic).await?;
    if reply.status == 401
        && let Some(challenge) = reply.challenge.as_deref().and_then(challenge)
    {
        let token = token(&client, settings, registry, &challenge, &basic).await?;
        let bearer = Zeroizing::new(format!("Bearer {}", token.as_str()));
        reply = fetch(&client, &address, &url, &bearer).await?;
    }
    match reply.status {
        200 if is_manifest(&reply.body) => Ok(()),
        // A page to log in at, of a proxy in between, says nothing of the image.
        200 => Err(Failure::new(
            ErrorClass::Malformed,
            format_args!("the registry {registry} answered what is no manifest of {}", settings.image),
        )),
        401 | 403 => Err(Failure::new(
            ErrorClass::Denied,
            format_args!(
                "the registry {registry} does not take the credentials of {}: {}",
                settings.auth_file,
                reply.words()
            ),
        )),
        404 => Err(Failure::new(
            ErrorClass::NotFound,
            format_args!(
                "the registry {registry} has no {name}:{tag}, or does not show it to these credentials"
            ),
        )),
        _ => Err(reply.failure(SERVICE, &format!("show {}", settings.image))),
    }
}

async fn fetch(client: &Client, address: &str, url: &str, auth: &str) -> Result<crate::http::Reply, Failure> {
    let malformed =
        |why: &dyn std::fmt::Display| Failure::lasting(ErrorClass::Malformed, format_args!("{url}: {why}"));
    let mut request = Request::new(Method::GET, Url::parse(url).map_err(|error| malformed(&error))?);
    *request.timeout_mut() = Some(ANSWERS_WITHIN);
    let mut value =
        HeaderValue::from_str(auth).map_err(|_| malformed(&"the credentials are no line of text"))?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
    Ok(send(client, SERVICE, address, request).await?)
}

/// Whether a body is a manifest, or a list of some: all that are pulled are of the second version.
fn is_manifest(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest {
        schema_version: u32,
    }
    serde_json::from_slice(body).is_ok_and(|Manifest { schema_version }| schema_version == 2)
}

/// Reads what Docker and registries may have written; for those who give it anything.
pub(crate) fn reads(text: &str) {
    let _ = is_manifest(text.as_bytes());
    let _ = serde_json::from_str::<Given>(text);
    let _ = serde_json::from_str::<DockerConfig>(text);
    let _ = challenge(text);
    let _ = parts(text);
}

/// Where a token is had, as the registry says: `WWW-Authenticate: Bearer realm="…",service="…",scope="…"`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

/// Reads a challenge; `None` where it is not one for a token.
fn challenge(header: &str) -> Option<Challenge> {
    let (scheme, mut rest) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut challenge = Challenge::default();
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        // A value that is quoted may hold commas: a scope does.
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "realm" => value.clone_into(&mut challenge.realm),
            "service" => challenge.service = Some(value.to_owned()),
            "scope" => challenge.scope = Some(value.to_owned()),
            _ => {}
        }
        rest = left.trim_start_matches([',', ' ']);
    }
    (!challenge.realm.is_empty()).then_some(challenge)
}

/// What is given where a registry sends for a token.
#[derive(Deserialize)]
struct Given {
    token: Option<Zeroizing<String>>,
    access_token: Option<Zeroizing<String>>,
}

/// Fetches the token that a registry asks for, with the credentials.
///
/// They go nowhere without TLS that the settings do not allow it for, whatever the registry says.
async fn token(
    client: &Client,
    settings: &RegistrySettings,
    registry: &str,
    challenge: &Challenge,
    basic: &str,
) -> Result<Zeroizing<String>, Failure> {
    let shown: String = challenge.realm.chars().filter(|c| !c.is_control()).take(200).collect();
    let wrong = |why: &str| {
        Failure::lasting(
            ErrorClass::Malformed,
            format_args!("the registry {registry} sends for a token to {shown:?}, {why}"),
        )
    };
    let mut url = Url::parse(&challenge.realm).map_err(|_| wrong("which is no address"))?;
    if url.scheme() != "https" && !(settings.insecure && url.scheme() == "http") {
        return Err(wrong("which is not https"));
    }
    for (name, value) in [("service", &challenge.service), ("scope", &challenge.scope)] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    let reply = fetch(client, &shown, url.as_str(), basic).await?;
    match reply.status {
        200 => {}
        401 | 403 => {
            let what = format_args!(
                "{shown}, which gives the tokens of the registry {registry}, does not take the credentials of {}",
                settings.auth_file
            );
            return Err(Failure::new(ErrorClass::Denied, what));
        }
        _ => return Err(reply.failure(SERVICE, &format!("give a token at {shown}"))),
    }
    // An error of this reader could show a piece of the token.
    let given: Option<Given> = serde_json::from_slice(&reply.body).ok();
    let token = given.and_then(|given| given.token.or(given.access_token));
    token.ok_or_else(|| {
        Failure::new(ErrorClass::Malformed, format_args!("{shown} answered without a token of the registry"))
    })
}

/// Registry, name and tag of an image.
fn parts(image: &str) -> Option<(&str, &str, &str)> {
    let (registry, rest) = image.split_once('/')?;
    let (name, tag) = rest.rsplit_once(':')?;
    Some((registry, name, tag))
}

/// The base64 of user and password, as Docker keeps it.
fn credentials(settings: &RegistrySettings, registry: &str) -> Result<Zeroizing<String>, Failure> {
    let file = &settings.auth_file;
    let text = secret_of(Path::new(file)).map_err(|why| {
        Failure::new(ErrorClass::NotFound, format_args!("the registry's credentials: {why}"))
    })?;
    // An error of this reader could show a piece of the text.
    let config: DockerConfig = serde_json::from_str(text.expose()).map_err(|error| {
        Failure::new(
            ErrorClass::Malformed,
            format_args!("{file}:{}:{}: it is no config.json of Docker's", error.line(), error.column()),
        )
    })?;
    let known: Vec<String> = config.auths.keys().cloned().collect();
    let auth = config.auths.into_iter().find(|(of, _)| {
        of == registry
            || of.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/')
                == registry
    });
    let (_, Auth { auth }) = auth.ok_or_else(|| {
        Failure::new(
            ErrorClass::NotFound,
            format_args!("{file} has no credentials for {registry}, but for {known:?}"),
        )
    })?;
    if STANDARD.decode(auth.as_bytes()).is_err() {
        return Err(Failure::new(
            ErrorClass::Malformed,
            format_args!("{file}: the credentials for {registry} are no base64"),
        ));
    }
    Ok(auth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_challenge_says_where_the_token_is_had() {
        let header = r#"Bearer realm="https://a.example/t",service="r", scope="repository:a/b:pull,push""#;
        let expected = Challenge {
            realm: "https://a.example/t".to_owned(),
            service: Some("r".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(challenge(header), Some(expected));
        for none in ["Basic realm=\"x\"", "Bearer", "Bearer realm=\"x", "Bearer service=\"x\"", ""] {
            assert_eq!(challenge(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn credentials_go_over_tls_alone_unless_the_registry_itself_need_not() {
        let secure = RegistrySettings::default();
        let realm = "http://127.0.0.1:1/token".to_owned();
        let challenge = Challenge { realm, ..Challenge::default() };
        let client = client(SERVICE, None).expect("a client");
        let refused = token(&client, &secure, "r", &challenge, "Basic x").await.expect_err("it is refused");
        assert!(refused.lasting && refused.what.contains("which is not https"), "{refused}");
        let insecure = RegistrySettings { insecure: true, ..secure };
        let asked = token(&client, &insecure, "r", &challenge, "Basic x").await.expect_err("nobody is there");
        assert!(asked.what.contains("cannot be reached"), "{asked}");
    }

    #[test]
    fn credentials_are_found_by_their_registry_and_never_shown() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let secret = STANDARD.encode("user:hunter2");
        write!(file, r#"{{"auths": {{"https://r.example.com:5000/": {{"auth": "{secret}"}}}}}}"#)
            .expect("written");
        let of = |image: &str| RegistrySettings {
            image: image.to_owned(),
            auth_file: file.path().display().to_string(),
            ..RegistrySettings::default()
        };
        let found =
            credentials(&of("r.example.com:5000/app:1"), "r.example.com:5000").expect("they are there");
        assert_eq!(found.as_str(), secret);
        let other = credentials(&of("x.example.com/app:1"), "x.example.com").expect_err("none");
        assert!(other.what.contains("r.example.com:5000") && !other.what.contains(&secret), "{other}");
        assert_eq!(parts("r:5000/a/b:1"), Some(("r:5000", "a/b", "1")));
    }
}
