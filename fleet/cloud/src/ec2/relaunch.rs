//! What a modification of a fleet says of what it launches.

use super::fleets::{launch_of, unsupported};
use crate::shared::{Context, Failure};
use crate::wire::Data;
use fleet::{Backend, FleetId, Override};

/// The version that a modification sets, where it sets what the fleet launches at all.
///
/// Another version of the fleet's own template is simulated, with the overrides that it has: both services replace the
/// whole list, and who leaves one out loses it.
pub(super) fn version_of(
    context: &Context<'_>,
    input: &Data,
    backend: Backend,
    id: &FleetId,
) -> Result<Option<u64>, Failure> {
    let configs = input.get("LaunchTemplateConfig");
    if configs.is_null() {
        return Ok(None);
    }
    let launch = launch_of(context, configs)?;
    let mut world = context.world();
    let views = world.shown_fleets(backend);
    // Of a fleet that is not there, the modification itself tells.
    let Some(view) = views.iter().find(|view| view.id == *id) else { return Ok(None) };
    let own = world.request_of(id).map(|asked| asked.launch_template.0.clone());
    if own.as_ref() != Some(&launch.template.0) {
        return Err(unsupported("another launch template for a fleet").into());
    }
    if sorted(&launch.overrides) != sorted(&view.overrides) {
        return Err(unsupported("other overrides for a fleet").into());
    }
    let version = launch.template.1.parse().map_err(|_| unsupported("a version without a number"))?;
    world.note_image(&launch.template.0, version, &launch.image);
    Ok(Some(version))
}

/// Overrides by what they say, whatever their order.
fn sorted(overrides: &[Override]) -> Vec<String> {
    let mut all: Vec<String> = overrides.iter().map(|line| format!("{line:?}")).collect();
    all.sort_unstable();
    all.dedup();
    all
}
