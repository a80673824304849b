//! What this node is to be: files, then parameters, then tags.

use super::inputs_of;
use crate::drive::Looked;
use crate::imds::paths;
use crate::node::Node;
use bootstrap_config::{File, Layer, Loaded, Problems, load, tag_layer};
use bootstrap_core::{Checked, Failure};
use fleet::ErrorClass;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// No file of a configuration is larger; the reader of HCL has the same bound.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// An instance has fifty tags at most.
const MAX_TAGS: usize = 64;

/// Looks: everything is read anew, and holds if it makes sense.
///
/// Once something holds, what is wrong or cannot be read is an alarm and no failure: one wrong parameter must not take
/// the work of a whole fleet.
pub(super) async fn check(node: &Node) -> Looked {
    let read = read(node).await;
    let wrong = read.as_ref().err().map(|failure| format!("what held before goes on: {failure}"));
    let Some(before) = node.loaded().filter(|_| wrong.is_some()) else {
        node.alarm("configuration", None);
        let loaded = read?;
        let inputs = inputs_of(&digest(&loaded));
        node.set_loaded(loaded);
        return Ok((Checked::Already, inputs));
    };
    node.alarm("configuration", wrong);
    Ok((Checked::Already, inputs_of(&digest(&before))))
}

/// Everything that is said, over what was said before it.
async fn read(node: &Node) -> Result<Loaded, Failure> {
    let mut layers = read_files(&node.directories.config).map_err(|(path, error)| {
        Failure::new(ErrorClass::NotFound, format_args!("{}: {error}", path.display()))
    })?;
    let tags = tags(node).await?;
    // Where the parameters are may stand in a tag.
    let first: Vec<Layer> = layers.iter().cloned().chain(tags.iter().cloned()).collect();
    let parameters = match load(&first) {
        Ok(loaded) => loaded.settings.parameters,
        // What is missing may stand in a parameter; what is wrong is told below.
        Err(_) => node.base().parameters.clone(),
    };
    if let Some(path) = parameters.path.as_deref() {
        let region = node.identity()?.document.region.to_string();
        let found = node.aws.parameters(&region, parameters.endpoint.as_deref(), path).await?;
        let layer = |parameter: crate::node::Parameter| {
            Layer::Parameter(File::new(format!("ssm:{}", parameter.name), parameter.text))
        };
        layers.extend(found.into_iter().map(layer));
    }
    layers.extend(tags);
    let loaded = load(&layers).map_err(|problems| wrong(&problems))?;
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "the configuration has a likely slip");
    }
    Ok(loaded)
}

/// Everything that is said, as text.
fn digest(loaded: &Loaded) -> Vec<(&str, &str)> {
    loaded.values.iter().map(|value| (value.path.as_str(), value.value.as_str())).collect()
}

fn wrong(problems: &Problems) -> Failure {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let what = format!("the configuration is wrong: {}", lines.first().map_or("", String::as_str));
    let more = lines.len().saturating_sub(1);
    let what = if more > 0 { format!("{what} (and {more} more)") } else { what };
    // Somebody may mend a parameter: it is looked at again.
    Failure { tail: lines, ..Failure::lasting(ErrorClass::Malformed, what) }
}

/// The instance's tags that are ours; none where the metadata service is not to show tags.
async fn tags(node: &Node) -> Result<Vec<Layer>, Failure> {
    let Some(listed) = node.imds.get(paths::TAGS).await? else { return Ok(Vec::new()) };
    let keys = listed.text.lines().filter(|key| key.starts_with(bootstrap_config::TAG_PREFIX));
    let mut layers = Vec::new();
    for key in keys.take(MAX_TAGS) {
        // A tag that was taken away since says nothing.
        if let Some(value) = node.imds.get(&format!("{}/{key}", paths::TAGS)).await? {
            layers.extend(tag_layer(key, &value.text));
        }
    }
    Ok(layers)
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
