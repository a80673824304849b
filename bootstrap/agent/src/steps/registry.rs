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
pub(super) async fn try_manifest(settings: &RegistrySettings) -> Result<(), Failure> {
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
    let reply = fetch(&client, &address, &url, &basic).await?;
    match reply.status {
        200 => Ok(()),
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
