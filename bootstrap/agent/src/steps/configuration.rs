//! What this node is to be: files, then parameters, then tags.
//!
//! What parameters and tags said is left in the run directory, so that `plan` can show every value with who said it: they are
//! the agent's to ask, and not everybody's.

use super::inputs_of;
use crate::drive::Looked;
use crate::imds::paths;
use crate::node::Node;
use crate::status::replace;
use bootstrap_config::{File, Layer, Loaded, Problems, Severity, load, tag_layer};
use bootstrap_core::{Checked, Entry, Failure, Phase};
use fleet::ErrorClass;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// No file of a configuration is larger; the reader of HCL has the same bound.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// A thousand parameters of 8 KiB, in JSON's escapes, at the very most.
const MAX_SAID_BYTES: u64 = 32 * 1024 * 1024;
/// An instance has fifty tags at most.
const MAX_TAGS: usize = 64;

/// Looks: everything is read anew, and holds if it makes sense.
///
/// Once something holds, what is wrong or cannot be read is an alarm and no failure: one wrong parameter must not take
/// the work of a whole fleet. It holds for later processes of the agent, too, until the next boot: where one before had
/// a configuration, what was said to that holds from the beginning.
///
/// * `last`: what is known of this step from before.
pub(super) async fn check(node: &Node, last: Option<&Entry>) -> Looked {
    if node.loaded().is_none() && last.is_some_and(|last| last.phase == Phase::Done) {
        take_up(node);
    }
    let read = read(node).await;
    let wrong = read.as_ref().err().map(|failure| format!("what held before goes on: {failure}"));
    let Some(before) = node.loaded().filter(|_| wrong.is_some()) else {
        node.alarm("configuration", None);
        let (loaded, said) = read?;
        if let Err(error) = said.write(&node.directories.run) {
            tracing::warn!(%error, "could not leave what parameters and tags said");
        }
        let inputs = inputs_of(&digest(&loaded));
        node.set_loaded(loaded);
        return Ok((Checked::Already, inputs));
    };
    node.alarm("configuration", wrong);
    Ok((Checked::Already, inputs_of(&digest(&before))))
}

/// Has the files hold, and what an agent of this boot was last told beside them.
fn take_up(node: &Node) {
    let said = match Said::read(&node.directories.run) {
        Ok(Some(said)) => said,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(%error, "could not read what parameters and tags said before");
            return;
        }
    };
    let Ok(files) = read_files(&node.directories.config) else { return };
    let layers: Vec<Layer> = files.into_iter().chain(said.layers()).collect();
    if let Ok(loaded) = load(&layers) {
        tracing::info!("what parameters and tags said before holds until they are read");
        node.set_loaded(loaded);
    }
}

/// Everything that is said, over what was said before it.
async fn read(node: &Node) -> Result<(Loaded, Said), Failure> {
    let mut layers = read_files(&node.directories.config).map_err(|(path, error)| {
        Failure::new(ErrorClass::NotFound, format_args!("{}: {error}", path.display()))
    })?;
    let mut said = Said { tags: tags(node).await?, ..Said::default() };
    // Where the parameters are may stand in a tag.
    let first: Vec<Layer> = layers.iter().cloned().chain(said.layers()).collect();
    let parameters = match load(&first) {
        Ok(loaded) => loaded.settings.parameters,
        // What is missing may stand in a parameter; what is wrong is told below.
        Err(_) => node.base().parameters.clone(),
    };
    if let Some(path) = parameters.path.as_deref() {
        let region = node.identity()?.document.region.to_string();
        let found = node.aws.parameters(&region, parameters.endpoint.as_deref(), path).await?;
        said.parameters = found.into_iter().map(|found| (found.name, found.text)).collect();
    }
    layers.extend(said.layers());
    let loaded = load(&layers).map_err(|problems| wrong(&problems))?;
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "the configuration has a likely slip");
    }
    Ok((loaded, said))
}

/// What parameters and tags said when they were last read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The parameters, by their names, in the order in which they are read.
    parameters: Vec<(String, String)>,
    /// The instance's tags that are ours, by their keys.
    tags: Vec<(String, String)>,
}

impl Said {
    /// The same as layers, to stand over those of the files.
    pub fn layers(&self) -> Vec<Layer> {
        let parameter = |(name, text): &(String, String)| {
            Layer::Parameter(File::new(format!("ssm:{name}"), text.as_str()))
        };
        let tags = self.tags.iter().filter_map(|(key, value)| tag_layer(key, value));
        self.parameters.iter().map(parameter).chain(tags).collect()
    }

    fn path(run: &Path) -> PathBuf {
        run.join("said.json")
    }

    /// For root and the agent's own user: no secret is among it, but it is not everybody's either.
    fn write(&self, run: &Path) -> io::Result<()> {
        replace(&Self::path(run), &serde_json::to_vec(self)?, 0o600)
    }

    /// What an agent of this boot has left. * returns: `None` where none has got so far.
    pub fn read(run: &Path) -> io::Result<Option<Self>> {
        let file = match fs::File::open(Self::path(run)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(MAX_SAID_BYTES).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }
}

/// Reads what may have been left as said; for those who give it anything.
pub(crate) fn reads(body: &[u8]) {
    if let Ok(said) = serde_json::from_slice::<Said>(body) {
        let _ = load(&said.layers());
    }
}

/// Everything that is said, as text.
fn digest(loaded: &Loaded) -> Vec<(&str, &str)> {
    loaded.values.iter().map(|value| (value.path.as_str(), value.value.as_str())).collect()
}

fn wrong(problems: &Problems) -> Failure {
    // What is only likely not meant keeps nobody.
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let lines: Vec<String> = errors.map(ToString::to_string).collect();
    let what = format!("the configuration is wrong: {}", lines.first().map_or("", String::as_str));
    let more = lines.len().saturating_sub(1);
    let what = if more > 0 { format!("{what} (and {more} more)") } else { what };
    // Somebody may mend a parameter: it is looked at again.
    Failure { tail: lines, ..Failure::lasting(ErrorClass::Malformed, what) }
}

/// The instance's tags that are ours, with their values; none where the metadata service is not to show tags.
async fn tags(node: &Node) -> Result<Vec<(String, String)>, Failure> {
    let Some(listed) = node.imds.get(paths::TAGS).await? else { return Ok(Vec::new()) };
    let mut tags = Vec::new();
    for key in keys_in(&listed.text) {
        // A tag that was taken away since says nothing.
        if let Some(value) = node.imds.get(&format!("{}/{key}", paths::TAGS)).await? {
            tags.push((key.to_owned(), value.text));
        }
    }
    Ok(tags)
}

/// The keys of ours in the metadata service's list of an instance's tags, a line each.
pub(crate) fn keys_in(listed: &str) -> impl Iterator<Item = &str> {
    // EC2 shows no tag there whose key has anything else in it: to this service a slash would be another document.
    let shown = |c: char| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c);
    let ours = listed.lines().filter(|key| key.starts_with(bootstrap_config::TAG_PREFIX));
    ours.filter(move |key| key.chars().all(shown)).take(MAX_TAGS)
}

/// The image's files: the one of the path, and `conf.d/*.hcl` beside it, in the order of their names.
///
/// Fails with the file that cannot be read.
pub fn read_files(config: &Path) -> Result<Vec<Layer>, (PathBuf, io::Error)> {
    let mut paths = vec![config.to_owned()];
    let beside = config.parent().unwrap_or(Path::new("/")).join("conf.d");
    match fs::read_dir(&beside) {
        Ok(listed) => {
            let mut more = Vec::new();
            for entry in listed {
                let path = entry.map_err(|error| (beside.clone(), error))?.path();
                more.extend(path.extension().is_some_and(|ending| ending == "hcl").then_some(path));
            }
            more.sort();
            paths.extend(more);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err((beside, error)),
    }
    let read = |path: PathBuf| match read_text(&path) {
        Ok(text) => Ok(Layer::Image(File::new(path.display().to_string(), text))),
        Err(error) => Err((path, error)),
    };
    paths.into_iter().map(read).collect()
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    Ok(text)
}
