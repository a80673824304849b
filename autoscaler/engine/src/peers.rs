//! Where autoscalers run: their instances are protected as our own is, or who leads would take the others' away.

use crate::{Engine, InstanceSeen, Now, Record};
use fleet::InstanceId;
use std::collections::BTreeSet;

impl Engine {
    /// The instances that autoscalers run on, ours included.
    pub(crate) fn taken(&self) -> BTreeSet<InstanceId> {
        self.peers.iter().chain(&self.config.own_instance).cloned().collect()
    }

    /// Who runs where is told anew. Those that are new are protected from now on; of those that are no more, the next
    /// look at EC2 shows what else protects them.
    pub(crate) fn peers_told(&mut self, peers: BTreeSet<InstanceId>, now: Now) {
        let before = std::mem::replace(&mut self.peers, peers);
        let (came, left) = (&self.peers - &before, &before - &self.peers);
        let mut look = Vec::new();
        for (name, held) in &mut self.fleets {
            let known = |id: &&InstanceId| held.state.instances.contains_key(*id);
            if left.iter().any(|id| known(&id)) {
                look.push(name.clone());
            }
            let seen: Vec<InstanceSeen> = came
                .iter()
                .filter_map(|id| held.state.instances.get(id))
                .filter(|known| !known.seen.protected && known.missing_since.is_none())
                .map(|known| InstanceSeen { protected: true, ..known.seen.clone() })
                .collect();
            if let Some(at) = held.state.instances_at.filter(|_| !seen.is_empty()) {
                held.record(Record::Instances { at, seen, missing: Vec::new(), gone: Vec::new() });
            }
        }
        for name in &look {
            self.look_and_plan(name, now);
        }
    }
}
