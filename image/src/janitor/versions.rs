//! Which versions of a launch template somebody may still launch without naming one by hand: pure.

use fleet_aws::{Launches, TemplateSeen};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Why a version of a launch template keeps its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Standing {
    /// A fleet launches it.
    Launched {
        /// Which.
        fleet: String,
    },
    /// It is what is launched where no version is named.
    Default,
    /// It is among the template's newest.
    Newest {
        /// 1: the newest.
        place: usize,
    },
    /// Who launches which version of the template is not known: no fleet names the template, or a fleet or an Auto Scaling group
    /// does in a way that says no version.
    Unknown,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launched { fleet } => write!(f, "fleet {fleet} launches it"),
            Self::Default => f.write_str("the default"),
            Self::Newest { place } => write!(f, "number {place} of its newest"),
            Self::Unknown => f.write_str("who launches which version is not known"),
        }
    }
}

/// Why a version counts; `None`: it can only be launched by somebody who names it, and no fleet does.
///
/// * `newest`: so many of a template's newest versions count.
pub fn standing(
    templates: &BTreeMap<String, TemplateSeen>,
    launches: &[Launches],
    id: &str,
    version: i64,
    newest: usize,
) -> Option<Standing> {
    let Some(template) = templates.get(id) else { return Some(Standing::Unknown) };
    let of_it: Vec<&Launches> =
        launches.iter().filter(|one| one.template == id || one.template == template.name).collect();
    let numbers: Option<Vec<i64>> = of_it.iter().map(|one| resolved(template, one)).collect();
    // Whether a group exists is seen by its instances alone, and which version it launches not at all.
    let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty() && !template.of_a_group) else {
        return Some(Standing::Unknown);
    };
    if let Some((launches, _)) = of_it.iter().zip(&numbers).find(|(_, number)| **number == version) {
        return Some(Standing::Launched { fleet: launches.fleet.clone() });
    }
    match template.default {
        None => return Some(Standing::Unknown),
        Some(default) if default == version => return Some(Standing::Default),
        Some(_) => {}
    }
    let newer = template.versions.range(version..).count();
    (newer <= newest).then_some(Standing::Newest { place: newer })
}

/// The number of the version that a fleet launches; `None` where that cannot be told.
fn resolved(template: &TemplateSeen, launches: &Launches) -> Option<i64> {
    match launches.version.as_deref()? {
        "$Latest" => template.versions.last().copied(),
        "$Default" => template.default,
        number => number.parse().ok(),
    }
}
