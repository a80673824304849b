//! What processes are told without asking: by the queue, and by agents.

use super::Cluster;
use crate::harness::secs;
use autoscaler_engine::Event;
use fleet::wire::{AgentNotice, NoticeBatch, SampleBatch};
use fleet::{FleetId, InstanceId, MessageId, News, Notice, NoticeKind, NoticeSource, Timestamp};
use fleet_sim::{EventKind, RecordType, WorldEvent};
use std::net::IpAddr;
use std::time::Duration;

/// A message that was not deleted comes again.
const VISIBILITY: Duration = Duration::from_secs(30);

impl Cluster {
    /// What EventBridge carries.
    pub(super) fn fill_queue(&mut self) {
        if !self.world.has_events_since(self.place) {
            return;
        }
        let events: Vec<WorldEvent> = self.world.events_since(self.place).cloned().collect();
        for event in events {
            self.place = event.sequence + 1;
            let Some(news) = news_of(&event).filter(|_| self.queue_tells) else { continue };
            let id = MessageId::new(format!("m-{}", event.sequence));
            for copy in 0..=self.duplicates {
                let spread = Duration::from_millis(self.chance.between(150, 900)) + secs(copy * 7);
                self.number += 1;
                let at = self.world.now() + spread + self.late;
                self.queue.insert((at, self.number), (id.clone(), vec![news.clone()]));
            }
        }
    }

    /// The leader reads the queue.
    pub(super) fn deliver(&mut self, now: Timestamp) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) {
            let (id, news) = entry.remove();
            if self.acknowledged.contains(&id) {
                continue;
            }
            self.number += 1;
            self.queue.insert((now + VISIBILITY, self.number), (id.clone(), news.clone()));
            let region = self.config.region.clone().expect("a region");
            if let Some(leader) = self.leader() {
                self.happen(leader, Event::Heard { region, message: Some(id), news });
            }
        }
    }

    /// Agents tell every process what their metadata service says.
    pub(super) fn agents_tell_notices(&mut self) {
        let fleets: Vec<FleetId> = self.world.targets().map(|(id, _)| id.clone()).collect();
        let announced = fleets.iter().flat_map(|id| self.world.notices_of(id));
        let announced = announced.filter(|(_, said)| said.terminate_at.is_some() || said.rebalance.is_some());
        let announced: Vec<InstanceId> = announced.map(|(id, _)| id.clone()).collect();
        for instance in announced {
            // What was told just now may have ended this one.
            let Some(notices) = self.world.notices(&instance) else { continue };
            let now = self.world.now();
            let interrupted = notices.terminate_at.map(|at| AgentNotice {
                kind: NoticeKind::SpotInterruption,
                at_ms: now,
                deadline_ms: Some(at),
            });
            let rebalance = notices.rebalance.map(|at| AgentNotice {
                kind: NoticeKind::RebalanceRecommendation,
                at_ms: at,
                deadline_ms: None,
            });
            let goes = interrupted.is_some();
            let notices: Vec<AgentNotice> = interrupted.into_iter().chain(rebalance).collect();
            let Some(peer) = self.world.private_address(&instance) else { continue };
            let batch = NoticeBatch { version: 1, instance: instance.clone(), sequence: None, notices };
            for who in 0..self.processes.len() {
                let heeds = self.tell_notices(who, peer, &batch);
                // It answers when that is on disk.
                if heeds && goes && !self.processes[who].disk.full {
                    self.heeded.insert(instance.clone());
                }
            }
            if goes {
                self.agents.entry(instance.clone()).or_insert(now);
                if !self.heeded.contains(&instance) {
                    self.nomad.leaves_by_itself(&instance, now);
                }
            }
        }
    }

    /// An agent tells one process. * returns: whether that says to act on it; a node is left to it then.
    pub fn tell_notices(&mut self, who: usize, peer: IpAddr, batch: &NoticeBatch) -> bool {
        let now = self.now(who);
        let process = &mut self.processes[who];
        let Some(engine) = process.engine.as_mut().filter(|_| !process.frozen) else { return false };
        let (answer, effects) = engine.accept_notices(peer, batch, now);
        self.begin(who, effects);
        answer.is_ok_and(|heard| heard.heeds)
    }

    pub(super) fn speak(&mut self) {
        let mut samples = Vec::new();
        self.world.agent_samples(self.heard, &mut samples);
        if let Some(newest) = samples.iter().map(|(_, sample)| sample.end_ms).max() {
            self.heard = newest;
        }
        if self.mute {
            return;
        }
        self.sequence += 1;
        for (instance, sample) in samples {
            let Some(peer) = self.world.private_address(&instance) else { continue };
            let (sequence, end) = (self.sequence, sample.end_ms);
            let batch = SampleBatch { version: 1, instance, sequence, samples: vec![sample] };
            for who in 0..self.processes.len() {
                let now = self.now(who);
                let process = &mut self.processes[who];
                if let Some(engine) = process.engine.as_mut().filter(|_| !process.frozen) {
                    self.truth.observer = who;
                    self.truth.heard(&batch.instance, end);
                    let (_, effects) = engine.accept_samples(peer, &batch, now);
                    self.begin(who, effects);
                }
            }
        }
    }
}

/// What a message about an event says.
fn news_of(event: &WorldEvent) -> Option<News> {
    let at = event.at;
    let notice = |instance: &InstanceId, kind, deadline| {
        let source = NoticeSource::EventBridge;
        Some(News::Notice(Notice { instance: instance.clone(), kind, source, at, deadline }))
    };
    match &event.kind {
        EventKind::InterruptionWarning { instance, .. } => {
            notice(instance, NoticeKind::SpotInterruption, Some(at + secs(120)))
        }
        EventKind::RebalanceRecommendation { instance, .. } => {
            notice(instance, NoticeKind::RebalanceRecommendation, None)
        }
        EventKind::StateChange { instance, state } => {
            Some(News::State { instance: instance.clone(), state: *state, at })
        }
        EventKind::Scheduled { instance, event } => {
            notice(instance, NoticeKind::ScheduledEvent, Some(event.not_before))
        }
        EventKind::Fleet { fleet, record, .. } => match (record.record_type, &record.instance) {
            (RecordType::InstanceChange, Some(instance)) if record.sub_type == "launched" => {
                Some(News::Launched { fleet: fleet.clone(), instance: instance.clone(), at })
            }
            (RecordType::InstanceChange, Some(instance)) if record.sub_type == "termination_notified" => {
                notice(instance, NoticeKind::FleetScaleIn, Some(at + secs(120)))
            }
            (RecordType::InstanceChange, _) => None,
            (RecordType::Error, _) => record.no_capacity.as_ref().map(|(pool, _)| News::NoCapacity {
                fleet: fleet.clone(),
                instance_type: Some(pool.instance_type.clone()),
                zone: Some(pool.zone.clone()),
                at,
            }),
            _ => Some(News::FleetChanged { fleet: fleet.clone(), at }),
        },
    }
}
