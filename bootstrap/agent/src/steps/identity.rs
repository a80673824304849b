//! Which instance this is, proved by AWS's signature.

use crate::drive::Looked;
use crate::imds::paths;
use crate::node::{Node, Proved};
use crate::status::replace;
use bootstrap_core::{Checked, Failure, Inputs};
use fleet::ErrorClass;
use fleet_identity::Trust;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A document with its signature is a few kilobytes.
const MAX_KEPT_BYTES: u64 = 64 * 1024;

/// What the metadata service said when it was last asked: for later processes of the agent, until the next boot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    pkcs7: String,
    life_cycle: Option<String>,
}

impl Kept {
    fn path(run: &Path) -> PathBuf {
        run.join("identity.json")
    }

    /// For root and the agent's own user: who has it can show it to others.
    fn write(&self, run: &Path) -> io::Result<()> {
        replace(&Self::path(run), &serde_json::to_vec(self)?, 0o600)
    }

    fn read(run: &Path) -> io::Result<Self> {
        let mut text = Vec::new();
        fs::File::open(Self::path(run))?.take(MAX_KEPT_BYTES).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// Reads what may have been left of an instance; for those who give it anything. * returns: whether it proves one.
pub(crate) fn reads(body: &[u8]) -> bool {
    serde_json::from_slice::<Kept>(body).is_ok_and(|kept| Trust::default().open(&kept.pkcs7).is_ok())
}

/// Looks: the document is fetched, its signature verified. An instance that has another one than before is another
/// instance: an agent does not survive that, its start does.
///
/// Once it is proved, a metadata service that does not answer is an alarm and no failure: it says nothing against the
/// instance. What an agent of this boot has proved is proved to the next one, by the same signature.
pub(super) async fn check(node: &Node) -> Looked {
    let looked = look(node).await;
    let silent = looked.as_ref().err().filter(|failure| is_silence(failure)).cloned();
    if silent.is_some() && node.proved().is_none() {
        take_up(node);
    }
    if let (Some(before), Some(silence)) = (node.proved(), silent) {
        node.alarm("identity", Some(format!("identity: {silence}")));
        return Ok((Checked::Already, Inputs::new(before.document.instance.as_str())));
    }
    node.alarm("identity", None);
    looked
}

/// Whether a failure is of a service that does not answer, or not just now.
pub(super) const fn is_silence(failure: &Failure) -> bool {
    matches!(failure.class, ErrorClass::Transient | ErrorClass::Unclear | ErrorClass::Throttled { .. })
}

fn take_up(node: &Node) {
    let Ok(Kept { pkcs7, life_cycle }) = Kept::read(&node.directories.run) else { return };
    let document = trust(node).ok().and_then(|trust| trust.open(&pkcs7).ok());
    if let Some(document) = document {
        tracing::info!("this is the instance that it was before");
        node.set_proved(Proved { document, pkcs7, life_cycle });
    }
}

async fn look(node: &Node) -> Looked {
    let pkcs7 = node.imds.need(paths::IDENTITY).await?.text;
    let trust = trust(node)?;
    let document = trust.open(&pkcs7).map_err(|why| {
        Failure::new(ErrorClass::Denied, format_args!("the identity document is not AWS's: {why}"))
    })?;
    // Whoever answers at this address has to be one and the same.
    let id = node.imds.need(paths::INSTANCE_ID).await?.text;
    if id.trim() != document.instance.as_str() {
        let what =
            format!("the metadata service says {}, its signed document {}", id.trim(), document.instance);
        return Err(Failure::new(ErrorClass::Denied, what));
    }
    if let Some(before) = node.proved()
        && before.document.instance != document.instance
    {
        let what =
            format!("this was {}, and is {} now: start again", before.document.instance, document.instance);
        return Err(Failure::lasting(ErrorClass::Conflict, what));
    }
    let life_cycle = node.imds.get(paths::LIFE_CYCLE).await?.map(|found| found.text.trim().to_owned());
    let inputs = Inputs::new(document.instance.as_str());
    let kept = Kept { pkcs7: pkcs7.clone(), life_cycle: life_cycle.clone() };
    if Kept::read(&node.directories.run).ok().as_ref() != Some(&kept)
        && let Err(error) = kept.write(&node.directories.run)
    {
        tracing::warn!(%error, "could not leave which instance this is");
    }
    node.set_proved(Proved { document, pkcs7, life_cycle });
    Ok((Checked::Already, inputs))
}

/// The certificates of the image. Read every time: an operator may add one.
fn trust(node: &Node) -> Result<Trust, Failure> {
    let mut trust = Trust::default();
    for path in &node.base().identity.certificates {
        let pem = fs::read_to_string(path).map_err(|error| {
            Failure::new(ErrorClass::NotFound, format_args!("the certificates in {path}: {error}"))
        })?;
        trust.add_pem(None, &pem).map_err(|error| {
            Failure::new(ErrorClass::Malformed, format_args!("the certificates in {path}: {error}"))
        })?;
    }
    Ok(trust)
}
