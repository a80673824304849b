//! Work that Nomad could not place for want of room counts as demand.

use super::draft::Draft;
use super::herd::Herd;
use crate::Remark;
use crate::number::{amount, units};
use fleet::{CapacityUnits, Resources};

/// The target that holds what is blocked, too: what takes work now, and room for the rest.
///
/// What boots is not counted, nor a node that is given back to work and has shown it only now, but what is blocked has
/// its place there: nothing is asked for twice.
///
/// * returns: units; 0 where nothing is blocked, or no node shows what a unit holds.
pub(super) fn needs(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) -> u32 {
    let blocked = draft.seen.blocked;
    let Some(herd) = herd.filter(|_| blocked != Resources::default()) else { return 0 };
    let mut taking = 0.0;
    let mut holds = (0.0, 0.0, 0.0);
    for member in &herd.alive {
        let takes = draft.node_of(&member.id).filter(|node| node.ready && node.eligible && !node.unproved);
        // Nomad places what is blocked a moment after it has made a node eligible: a look in between shows both.
        let Some(node) = takes.filter(|_| !draft.memory.restoring.contains_key(&member.id)) else { continue };
        taking += member.weight.get();
        holds.0 += amount(node.capacity.cpu_mhz);
        holds.1 += amount(node.capacity.memory_mib);
        holds.2 += amount(node.capacity.disk_mib);
    }
    let share = |needs: u64, holds: f64| {
        if needs == 0 || holds <= 0.0 { 0.0 } else { amount(needs) * taking / holds }
    };
    let Resources { cpu_mhz, memory_mib, disk_mib } = blocked;
    let more = share(cpu_mhz, holds.0).max(share(memory_mib, holds.1)).max(share(disk_mib, holds.2));
    draft.remark(Remark::Blocked { needs: blocked, units: CapacityUnits::new(more) });
    if more > 0.0 { units(taking + more) } else { 0 }
}
