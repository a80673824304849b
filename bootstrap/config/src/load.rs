//! From layers of text to settings.

use crate::model::Settings;
use crate::rules::Rules;
use crate::tables::FILE;
use crate::tags::TAGGED;
use muster_hcl::{File, Places, Problem, Problems, Setting, nearest};
use std::collections::BTreeMap;
use std::fmt;

/// A text, and who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A file of the image.
    Image(File),
    /// A parameter of SSM, under its name.
    Parameter(File),
    /// A tag of the instance: its key, without [`crate::TAG_PREFIX`], and the file made of it.
    Tag {
        /// The dotted path that it sets.
        path: String,
        /// The tag's key as it stands on the instance.
        key: String,
        /// The same as HCL.
        file: File,
    },
}

impl Layer {
    const fn file(&self) -> &File {
        match self {
            Self::Image(file) | Self::Parameter(file) | Self::Tag { file, .. } => file,
        }
    }

    /// Whether whoever wrote it may say this: the rest of the image's files is beyond the others.
    fn may_say(&self, path: &str) -> bool {
        let within =
            |block: &str| path == block || path.strip_prefix(block).is_some_and(|rest| rest.starts_with('.'));
        match self {
            Self::Image(_) => true,
            Self::Parameter(_) => !["host", "identity", "time", "parameters"].into_iter().any(within),
            Self::Tag { .. } => TAGGED.contains(&path),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// This place says so: `FILE:LINE`, `ssm:NAME:LINE` or `tag:KEY`.
    Given(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Given(place) => f.write_str(place),
        }
    }
}

/// A value that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its dotted path.
    pub path: String,
    /// The value as HCL, or in words where nothing is set.
    pub value: String,
    /// Who says so.
    pub origin: Origin,
}

/// A configuration that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What holds.
    pub settings: Settings,
    /// The same, a value a line, each with its origin; in the order of the reference.
    pub values: Vec<Value>,
    /// What is allowed but likely not meant. Never holds an error.
    pub warnings: Problems,
}

/// Reads layers, each over those before it.
///
/// * returns: what holds; or every problem of every layer, warnings included.
///
/// A tag that may not be given is warned of and left out: whoever may tag an instance cannot keep it from booting.
/// Never panics, whatever the texts.
pub fn load(layers: &[Layer]) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let mut settings = Settings::default();
    let mut read = Vec::new();
    for (order, layer) in layers.iter().enumerate() {
        if let Layer::Tag { path, key, file } = layer
            && !layer.may_say(path)
        {
            problems.push(refused_tag(path, key, file, order));
            continue;
        }
        let places = muster_hcl::read_over(layer.file(), order, &FILE, &mut settings, &mut problems);
        let refused = places.paths().find(|(path, _)| !path_is_open(layer, path));
        if let Some((path, place)) = refused {
            let problem = Problem::error(place, path, "may be said by files of the image alone");
            problems.push(problem.expected("files, parameters and tags to say no more than they may"));
        }
        read.push(places);
    }
    Rules { settings: &settings, layers: &read, problems: &mut problems }.check();
    if problems.has_errors() {
        return Err(problems);
    }
    let values = values(&settings, &read);
    Ok(Loaded { settings, values, warnings: problems })
}

/// What files say by themselves: enough to learn which instance this is, and where the rest is said.
///
/// * returns: what holds until then, or what is wrong with the files themselves: a rule between values is checked when all
///   of them are known.
pub fn begin(files: &[File]) -> Result<Settings, Problems> {
    let mut problems = Problems::default();
    let mut settings = Settings::default();
    let mut read = Vec::new();
    for (order, file) in files.iter().enumerate() {
        read.push(muster_hcl::read_over(file, order, &FILE, &mut settings, &mut problems));
    }
    Rules { settings: &settings, layers: &read, problems: &mut problems }.identity();
    if problems.has_errors() { Err(problems) } else { Ok(settings) }
}

/// The blocks around what a tag sets are no more than the way to it.
fn path_is_open(layer: &Layer, path: &str) -> bool {
    match layer {
        Layer::Tag { path: set, .. } => layer.may_say(path) || set.starts_with(&format!("{path}.")),
        Layer::Image(_) | Layer::Parameter(_) => layer.may_say(path),
    }
}

fn refused_tag(path: &str, key: &str, file: &File, order: usize) -> Problem {
    let mut problem =
        Problem::of_file(file.name.as_str(), order, format!("the tag {key:?} may not be given here"));
    problem.severity = muster_hcl::Severity::Warning;
    let help = nearest(path, TAGGED.iter().copied());
    problem
        .expected(format!("one of {}", TAGGED.join(", ")))
        .help(help.map(|meant| format!("did you mean `{}{meant}`?", crate::TAG_PREFIX)))
}

/// Every value that holds, with who says so: the last layer that does.
fn values(settings: &Settings, layers: &[Places]) -> Vec<Value> {
    let mut said: BTreeMap<&str, String> = BTreeMap::new();
    for places in layers {
        for (path, place) in places.paths() {
            if places.text(path).is_none() {
                // A block that stands for the whole of it makes what was said of it before void.
                if is_whole(path) {
                    said.retain(|known, _| !known.starts_with(&format!("{path}.")));
                }
                continue;
            }
            let at = if place.file().starts_with("tag:") {
                place.file().to_owned()
            } else {
                format!("{}:{}", place.file(), place.line())
            };
            said.insert(path, at);
        }
    }
    let mut out = Vec::new();
    FILE.settings(settings, "", &mut out);
    let value = |Setting { path, value }| {
        let origin = said.get(path.as_str()).map_or(Origin::Default, |place| Origin::Given(place.clone()));
        Value { path, value, origin }
    };
    out.into_iter().map(value).collect()
}

/// Whether a block replaces another of its label as a whole.
fn is_whole(path: &str) -> bool {
    ["step.", "vault.template.", "host.file.", "host.package.", "host.directory."]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}
