//! What agents, the queue and EC2 tell of instances that are to go, or have gone.
//!
//! The same thing is told by several, in any order, more than once, late or never. A notice is one (instance, kind)
//! for the life of the instance, with the earliest deadline that was told (of a scheduled event: with the last). A
//! message is acknowledged when all that it says is on disk, or concerns nobody here: then a describe that was begun
//! after it came does not know its instance either. Such describes are made for many messages together. While a fleet
//! that a policy names has not been found, no describe knows its instances: what could be about them is kept for a while.

use crate::calls::CallKind;
use crate::held::Held;
use crate::{BatchId, CallId, Effect, Engine, NoticeCount, Now, Read, Record, Rejection, State};
use autoscaler_core::{DrainBy, PoolTrouble, TroubleKind};
use fleet::wire::{AgentNotice, MAX_NOTICES, NoticeBatch, VERSION};
use fleet::{
    FleetId, FleetName, FleetRef, InstanceId, InstanceState, InstanceType, MessageId, News, Notice,
    NoticeKind, NoticeSource, Offering, Pool, Region, Zone,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Messages about strangers that wait for a describe. What comes beyond that comes again by itself.
const RUMOURS: usize = 20_000;
/// What may be about a fleet that is not found yet is kept for so long: the time that a warning gives. A policy that names
/// no fleet at all must not keep every stranger's message for ever.
const KEPT_FOR: Duration = Duration::from_secs(120);
/// So many are kept; a third of what a queue's reader hands on without having it acknowledged.
const KEPT: usize = 4_000;
/// Describes for strangers' sake are at least so far apart, and twice as far after each that knew none of them, ...
const LOOKS_APART: Duration = Duration::from_secs(1);
/// ... up to this: a message of a stranger's waits no longer.
const LOOKS_APART_AT_MOST: Duration = Duration::from_secs(4);
/// What is no notice can wait for so long for others, and a describe that is made anyway.
const NO_HASTE: Duration = Duration::from_secs(5);
/// Fleets a describe: what EC2 takes as values of one filter.
const FLEETS_A_CALL: usize = 200;
/// What was seen of the nodes holds for this long: so long a listing that hangs can go unnoticed.
const NODES_KNOWN: Duration = Duration::from_secs(60);
/// A warning that does not say when it ends gives two minutes.
const WARNING: Duration = Duration::from_secs(120);

/// How an agent's notices were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticesHeard {
    /// The batch that has to be written before the agent is answered: then all of them are on disk.
    pub batch: BatchId,
    /// How many of them were news.
    pub accepted: usize,
    /// Whether we act on them: we lead and have looked, the fleet is ours to change, and, where an interruption is among them, its
    /// node can be told to let go. A standby keeps them, and acts when it leads.
    pub heeds: bool,
}

/// What was heard and is not settled yet.
#[derive(Debug, Default)]
pub(crate) struct Hearsay {
    /// Messages that are settled with the records of this event.
    pub settled: Vec<MessageId>,
    /// The message that was heard last, where it is about a stranger and waits for a describe.
    pub put_off: Option<MessageId>,
    /// What was told of instances that nobody knows.
    pub strangers: BTreeMap<Region, Strangers>,
}

/// What was told of unknown instances of a region.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// What came since the last describe was begun.
    waiting: Vec<Rumour>,
    /// What the describes that are under way will tell of.
    asked: Vec<Rumour>,
    /// What the describes did not tell of, and may be about a fleet that was not found yet.
    kept: Vec<Rumour>,
    /// So many fleets of the region were not found when those describes were begun, or when what they did not tell of was
    /// kept.
    unresolved: usize,
    /// These describes.
    calls: BTreeSet<CallId>,
    /// Whether one of them failed.
    failed: bool,
    /// Not again before.
    next: Duration,
    apart: Duration,
}

/// A message, and what of it is about strangers.
#[derive(Debug)]
struct Rumour {
    message: Option<MessageId>,
    news: Vec<News>,
    came: Duration,
}

impl Rumour {
    /// Until when it can wait for a describe.
    fn due(&self) -> Duration {
        if self.is_urgent() { self.came } else { self.came + NO_HASTE }
    }

    fn is_urgent(&self) -> bool {
        self.news.iter().any(|news| matches!(news, News::Notice(_)))
    }
}

impl Strangers {
    /// When the next describe is due; `None` while nobody waits, or one is under way.
    pub fn due(&self) -> Option<Duration> {
        if !self.calls.is_empty() {
            return None;
        }
        self.waiting.iter().map(Rumour::due).min().map(|due| due.max(self.next))
    }
}

impl Engine {
    /// Takes in an agent's notices of its own instance. Repeating them changes nothing.
    ///
    /// * `peer`: the address that the call came from; must be the claimed instance's private address.
    /// * returns: what to answer once the batch is written, and what is to be done. A batch is taken whole or not
    ///   at all.
    pub fn accept_notices(
        &mut self,
        peer: IpAddr,
        batch: &NoticeBatch,
        now: Now,
    ) -> (Result<NoticesHeard, Rejection>, Vec<Effect>) {
        self.note_time(now);
        let answer = self.take_notices(peer, batch, now);
        if let Err(rejection) = &answer {
            *self.metrics.batches_rejected.entry(rejection.label()).or_default() += 1;
        }
        // The records of all that this event brings go out in one batch, which the notices are part of.
        let told = batch;
        let batch = self.journal.next_batch();
        let mut effects = self.finish(now);
        if answer.is_ok() && self.journal.next_batch() == batch {
            self.hand_out_empty(now);
            effects.append(&mut self.out);
        }
        let heeds = self.leads(now) && self.heeds(told, now);
        (answer.map(|accepted| NoticesHeard { batch, accepted, heeds }), effects)
    }

    /// Whether what is announced of an instance leads to all that it should. Where it does not, its agent has to hear that: it
    /// empties the node itself.
    fn heeds(&self, told: &NoticeBatch, now: Now) -> bool {
        let goes = told.notices.iter().any(|notice| notice.kind == NoticeKind::SpotInterruption);
        let Some(name) = self.owners.get(&told.instance) else { return false };
        let Some(held) = self.fleets.get(name).filter(|held| held.is_ours(now.wall)) else { return false };
        // Who has just begun to lead, or has read another policy of whom to protect, tells nobody anything before it has looked.
        let looked = held.fleet_ref().is_some() && held.state.instances_at.is_some();
        let acts = looked && self.stands_by(name, now).is_none();
        acts && (!goes || self.can_empty(held, &told.instance, now))
    }

    /// Whether the work on an instance can be asked to leave, as far as anybody knows: its agent takes a yes for the last word.
    fn can_empty(&self, held: &Held, instance: &InstanceId, now: Now) -> bool {
        let State { policy, instances, nodes_at, .. } = &held.state;
        let protected =
            instances.get(instance).is_none_or(|known| held.state.member(known, now.wall).protected);
        if protected || held.withholds_nodes() || held.fails_to_tell(instance) {
            return false;
        }
        match policy.drain.by {
            DrainBy::Nobody => false,
            DrainBy::Hook => true,
            DrainBy::Nomad => {
                let looked = nodes_at.is_some_and(|at| now.wall.since(at) <= NODES_KNOWN);
                let shown = held.state.node_of(instance).is_some_and(|node| node.ready);
                looked && shown && !self.services.failing.fails("nodes")
            }
        }
    }

    fn take_notices(&mut self, peer: IpAddr, batch: &NoticeBatch, now: Now) -> Result<usize, Rejection> {
        let NoticeBatch { version, instance, sequence: _, notices } = batch;
        if self.stopping.is_some() {
            return Err(Rejection::Stopping);
        }
        if *version != VERSION {
            return Err(Rejection::Version { version: *version });
        }
        if notices.len() > MAX_NOTICES {
            return Err(Rejection::TooMany { count: notices.len() });
        }
        if let Some(notice) = notices.iter().find(|notice| notice.kind == NoticeKind::FleetScaleIn) {
            return Err(Rejection::NotAnAgents { kind: notice.kind });
        }
        let known = self.owners.get(instance).and_then(|name| {
            let known = self.fleets.get(name)?.state.instances.get(instance)?;
            Some((name.clone(), known.seen.private_ip))
        });
        let Some((_, address)) = known else {
            self.meet_stranger(instance, now);
            return Err(Rejection::UnknownYet { instance: instance.clone() });
        };
        if address.map(|ip| ip.to_canonical()) != Some(peer.to_canonical()) {
            return Err(Rejection::WrongPeer { instance: instance.clone() });
        }
        let mut accepted = 0;
        for AgentNotice { kind, at_ms, deadline_ms } in notices {
            let warning = *kind == NoticeKind::SpotInterruption;
            let notice = Notice {
                instance: instance.clone(),
                kind: *kind,
                source: NoticeSource::Agent,
                at: *at_ms,
                deadline: deadline_ms.or_else(|| warning.then(|| *at_ms + WARNING)),
            };
            accepted += usize::from(self.notice(&notice, now) == Some(true));
        }
        Ok(accepted)
    }

    /// A source told something.
    pub(crate) fn heard(&mut self, region: &Region, message: Option<MessageId>, news: Vec<News>, now: Now) {
        if self.stopping.is_some() {
            return;
        }
        let unknown: Vec<News> = news.into_iter().filter(|news| !self.take_news(region, news, now)).collect();
        if unknown.is_empty() {
            self.settle(message, now);
            return;
        }
        // Where no policy has a fleet, nobody of ours can be.
        if !self.regions.contains_key(region) {
            self.foreign(message, now);
            return;
        }
        self.hearsay.put_off.clone_from(&message);
        let strangers = self.hearsay.strangers.entry(region.clone()).or_default();
        // Who is kept comes again meanwhile: once is enough.
        let again = |rumour: &Rumour| message.is_some() && rumour.message == message;
        if !strangers.kept.iter().any(again) && strangers.waiting.len() < RUMOURS {
            strangers.waiting.push(Rumour { message, news: unknown, came: now.monotonic });
        }
    }

    /// The message that was heard just now, where it is about a stranger: it is acknowledged once a describe has shown whose it
    /// is, which may be late.
    pub fn take_put_off(&mut self) -> Option<MessageId> {
        self.hearsay.put_off.take()
    }

    /// Takes what is about somebody known. * returns: whether it was.
    fn take_news(&mut self, region: &Region, news: &News, now: Now) -> bool {
        match news {
            News::Notice(notice) => self.notice(notice, now).is_some(),
            News::CalledOff { instance, at } => self.called_off(instance, *at),
            News::State { instance, state, at } => {
                let Some(name) = self.owners.get(instance).cloned() else { return false };
                self.state_told(&name, instance, *state, *at, now);
                true
            }
            News::Launched { fleet, .. } | News::FleetChanged { fleet, .. } => {
                if let Some(name) = self.fleet_of_id(region, fleet) {
                    self.look_soon(&name, now);
                }
                true
            }
            News::NoCapacity { fleet, instance_type, zone, at } => {
                if let Some(instance_type) = instance_type {
                    let pool = (instance_type, zone.as_ref());
                    self.pool_told(region, fleet, TroubleKind::NoCapacity, pool, *at);
                }
                true
            }
            News::LaunchFailed { fleet, instance_type, zone, at } => {
                let pool = (instance_type, zone.as_ref());
                self.pool_told(region, fleet, TroubleKind::LaunchFailed, pool, *at);
                if let Some(name) = self.fleet_of_id(region, fleet) {
                    self.look_soon(&name, now);
                }
                true
            }
        }
    }

    /// A fleet says that a type cannot be had, in a zone or at all.
    fn pool_told(
        &mut self,
        region: &Region,
        fleet: &FleetId,
        kind: TroubleKind,
        (instance_type, zone): (&InstanceType, Option<&Zone>),
        at: fleet::Timestamp,
    ) {
        let Some(name) = self.fleet_of_id(region, fleet) else { return };
        let Some(held) = self.fleets.get(&name) else { return };
        let troubles = held.troubles(kind, instance_type, zone, at);
        self.trouble_told(&name, troubles, true);
    }

    fn fleet_of_id(&self, region: &Region, id: &FleetId) -> Option<FleetName> {
        let names = &self.regions.get(region)?.fleets;
        let is_it = |name: &&FleetName| {
            self.fleets.get(*name).is_some_and(|held| held.state.held.as_ref() == Some(id))
        };
        names.iter().find(is_it).cloned()
    }

    /// What speaks against pools, where that is news.
    pub(crate) fn trouble_told(&mut self, name: &FleetName, mut troubles: Vec<PoolTrouble>, durable: bool) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        troubles.retain(|trouble| !held.state.troubles_told.contains(trouble));
        if !troubles.is_empty() {
            held.record(Record::Troubles(troubles));
            self.write_soon(name, durable);
        }
    }

    /// An instance has entered a state. Where that ends it, nobody need have announced it: the fleet is looked at.
    fn state_told(
        &mut self,
        name: &FleetName,
        instance: &InstanceId,
        state: InstanceState,
        at: fleet::Timestamp,
        now: Now,
    ) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        let Some(known) = held.state.instances.get(instance) else { return };
        let order = |state| match state {
            InstanceState::Pending => 0,
            InstanceState::Running => 1,
            InstanceState::Stopping | InstanceState::Stopped => 2,
            InstanceState::ShuttingDown | InstanceState::Terminated => 3,
        };
        // Messages overtake each other; a describe says when something has started again.
        if order(state) <= order(known.seen.state) {
            if held.gap {
                self.write_soon(name, true);
            }
            return;
        }
        let state = if state == InstanceState::Terminated { InstanceState::ShuttingDown } else { state };
        let lost = held
            .lost_unannounced(instance, at.min(now.wall))
            .filter(|_| state == InstanceState::ShuttingDown);
        held.record(Record::State { instance: instance.clone(), state, at: at.min(now.wall) });
        if let Some(lost) = lost {
            // The describe that follows says whose doing it was.
            held.suspected.insert(instance.clone(), lost);
        }
        held.moved = now.monotonic;
        self.write_soon(name, true);
        self.plan_now(name);
        self.look_soon(name, now);
    }

    /// Word that an instance is about to go.
    ///
    /// * returns: whether it was news; `None` where nobody knows the instance.
    fn notice(&mut self, notice: &Notice, now: Now) -> Option<bool> {
        let name = self.owner_of(&notice.instance)?.clone();
        let held = self.fleets.get_mut(&name)?;
        let counted = NoticeCount::of(notice.kind, notice.source);
        let same = |known: &&Notice| known.instance == notice.instance && known.kind == notice.kind;
        let known = held.state.notices.iter().find(same);
        let scheduled = notice.kind == NoticeKind::ScheduledEvent;
        if held.state.is_called_off(notice) {
            return Some(false);
        }
        // Scheduled events alone can be put off: of them the newest word counts, not the earliest deadline.
        let put_off = |known: &Notice| scheduled && notice.at > known.at && notice.deadline > known.deadline;
        let outdated = |known: &Notice| scheduled && notice.at < known.at;
        let earlier = |known: &Notice| match (known.deadline, notice.deadline) {
            (Some(known), Some(told)) => known <= told,
            (None, Some(_)) => false,
            (_, None) => true,
        };
        if known.is_some_and(|known| outdated(known) || (earlier(known) && !put_off(known))) {
            if held.gap {
                // It was heard before, and may not be on disk.
                self.write_soon(&name, true);
            }
            *self.metrics.notices_again.entry(counted).or_default() += 1;
            return Some(false);
        }
        held.record(Record::Notice(notice.clone()));
        *self.metrics.notices.entry(counted).or_default() += 1;
        self.write_soon(&name, true);
        self.plan_now(&name);
        // What the plan asks for before it acts is not waited for longer than this.
        self.again.entry(name).or_insert(now.monotonic + self.config.notice_patience);
        Some(true)
    }

    /// Word that an instance's scheduled event will not be, or is over: nothing is asked for on its account any more.
    ///
    /// * returns: whether anybody knows the instance.
    fn called_off(&mut self, instance: &InstanceId, at: fleet::Timestamp) -> bool {
        let Some(name) = self.owner_of(instance).cloned() else { return false };
        let Some(held) = self.fleets.get_mut(&name) else { return false };
        if held.state.called_off.get(instance).is_none_or(|last| *last < at) {
            let scheduled = |n: &&Notice| n.instance == *instance && n.kind == NoticeKind::ScheduledEvent;
            let known = held.state.notices.iter().any(|n| scheduled(&n) && n.at <= at);
            held.record(Record::CalledOff { instance: instance.clone(), at });
            self.write_soon(&name, true);
            if known {
                self.plan_now(&name);
            }
        } else if held.gap {
            self.write_soon(&name, true);
        }
        true
    }

    /// EC2 itself says who is to go; strangers too. A scheduled event that it has listed, and lacked twice in a row, is over
    /// or was called off.
    ///
    /// * `begun`: when it was asked; what was told since then it need not know.
    pub(crate) fn marks_told(
        &mut self,
        region: &Region,
        notices: &[Notice],
        begun: fleet::Timestamp,
        now: Now,
    ) {
        for notice in notices {
            self.notice(notice, now);
        }
        let scheduled = |n: &&Notice| n.kind == NoticeKind::ScheduledEvent;
        let listed: BTreeSet<&InstanceId> = notices.iter().filter(scheduled).map(|n| &n.instance).collect();
        let names = self.regions.get(region).map(|state| state.fleets.clone()).unwrap_or_default();
        let mut over = Vec::new();
        for name in &names {
            let Some(held) = self.fleets.get_mut(name) else { continue };
            let known = held.state.notices.iter().filter(scheduled).filter(|known| {
                let was_listed = known.source == NoticeSource::Ec2 || held.listed.contains(&known.instance);
                was_listed && known.at <= begun && !listed.contains(&known.instance)
            });
            let missed: BTreeSet<InstanceId> = known.map(|known| known.instance.clone()).collect();
            over.extend(missed.intersection(&held.unlisted).cloned());
            let of_fleet = listed.iter().filter(|id| held.state.instances.contains_key(**id));
            held.listed = of_fleet.map(|id| (*id).clone()).chain(missed.iter().cloned()).collect();
            held.unlisted = missed;
        }
        for instance in &over {
            self.called_off(instance, begun);
        }
    }

    /// What pools cost now.
    pub(crate) fn prices_told(&mut self, region: &Region, offerings: &[Offering]) {
        let Some(names) = self.regions.get(region).map(|state| state.fleets.clone()) else { return };
        for name in &names {
            let Some(held) = self.fleets.get_mut(name) else { continue };
            let Some(seen) = &held.state.fleet else { continue };
            let listed = |pool: &Pool| {
                let mut lines = seen.what.overrides.iter();
                lines.any(|line| line.instance_type == pool.instance_type)
            };
            let told = offerings.iter().filter(|offering| listed(&offering.pool));
            let mut prices: Vec<_> =
                told.filter_map(|offering| Some((offering.pool.clone(), offering.price?))).collect();
            prices.sort();
            prices.dedup_by(|a, b| a.0 == b.0);
            if prices != held.state.prices {
                held.record(Record::Prices(prices));
            }
        }
    }

    /// A message whose every effect is among the records that are handed out now, or on disk already.
    fn settle(&mut self, message: Option<MessageId>, now: Now) {
        // The leader has to hear it, too: it comes again, to whoever leads then.
        if self.leads(now) {
            self.hearsay.settled.extend(message);
        }
    }

    fn foreign(&mut self, message: Option<MessageId>, now: Now) {
        self.metrics.messages_foreign += 1;
        self.settle(message, now);
    }

    /// Describes all fleets of regions where somebody unknown was told of, once for all that has been told so far.
    pub(crate) fn look_for_strangers(&mut self, now: Now) {
        self.look_again_for_kept(now);
        let due = |strangers: &Strangers| strangers.due().is_some_and(|due| due <= now.monotonic);
        let regions: Vec<Region> = self
            .hearsay
            .strangers
            .iter()
            .filter(|(_, strangers)| due(strangers))
            .map(|(region, _)| region.clone())
            .collect();
        for region in regions {
            self.look_for_strangers_in(&region, now);
        }
    }

    /// Fleets of a region that a policy names and no describe has shown.
    fn unresolved(&self, region: &Region) -> usize {
        let names = self.regions.get(region).into_iter().flat_map(|state| &state.fleets);
        let held = names.filter_map(|name| self.fleets.get(name));
        held.filter(|held| held.fleet_ref().is_none()).count()
    }

    /// What was kept waits for a describe again once another fleet is found; what is too old is given up.
    fn look_again_for_kept(&mut self, now: Now) {
        let regions: Vec<Region> = self
            .hearsay
            .strangers
            .iter()
            .filter(|(_, strangers)| !strangers.kept.is_empty())
            .map(|(region, _)| region.clone())
            .collect();
        for region in regions {
            let unresolved = self.unresolved(&region);
            let Some(strangers) = self.hearsay.strangers.get_mut(&region) else { continue };
            if unresolved < strangers.unresolved {
                strangers.waiting.append(&mut strangers.kept);
                continue;
            }
            let old = |rumour: &Rumour| now.monotonic.saturating_sub(rumour.came) >= KEPT_FOR;
            let (over, kept) = std::mem::take(&mut strangers.kept).into_iter().partition(old);
            strangers.kept = kept;
            let over: Vec<Rumour> = over;
            for rumour in over {
                self.foreign(rumour.message, now);
            }
        }
    }

    fn look_for_strangers_in(&mut self, region: &Region, now: Now) {
        let may =
            self.regions.get(region).is_some_and(|state| state.may("describe_instances", now.monotonic));
        let fleets: Vec<(FleetName, FleetRef)> = self
            .regions
            .get(region)
            .into_iter()
            .flat_map(|state| &state.fleets)
            .filter_map(|name| Some((name.clone(), self.fleets.get(name)?.fleet_ref()?)))
            .collect();
        if !may || fleets.is_empty() {
            if let Some(strangers) = self.hearsay.strangers.get_mut(region) {
                strangers.next = now.monotonic + LOOKS_APART;
            }
            return;
        }
        let mut calls = BTreeSet::new();
        for chunk in fleets.chunks(FLEETS_A_CALL) {
            let names: Vec<FleetName> = chunk.iter().map(|(name, _)| name.clone()).collect();
            let read = Read::Instances { fleets: chunk.iter().map(|(_, fleet)| fleet.clone()).collect() };
            calls.insert(self.ask(region, CallKind::Instances { fleets: chunk.to_vec() }, read, &names, now));
        }
        let unresolved = self.unresolved(region);
        let Some(strangers) = self.hearsay.strangers.get_mut(region) else { return };
        strangers.unresolved = unresolved;
        strangers.calls = calls;
        strangers.failed = false;
        strangers.asked = std::mem::take(&mut strangers.waiting);
    }

    /// A describe of instances has ended; perhaps it was the one that messages about strangers wait for.
    pub(crate) fn strangers_looked_for(&mut self, region: &Region, call: CallId, told: bool, now: Now) {
        let Some(strangers) = self.hearsay.strangers.get_mut(region) else { return };
        if !strangers.calls.remove(&call) {
            return;
        }
        strangers.failed |= !told;
        if !strangers.calls.is_empty() {
            return;
        }
        let (asked, unresolved) = (std::mem::take(&mut strangers.asked), strangers.unresolved);
        if strangers.failed {
            strangers.waiting.extend(asked);
            strangers.next = now.monotonic + LOOKS_APART;
            return;
        }
        // A fleet that was found meanwhile was not described, and one that policies name since then not either.
        let unresolved = unresolved.max(self.unresolved(region));
        let found = self.judge(region, asked, unresolved, now);
        let Some(strangers) = self.hearsay.strangers.get_mut(region) else { return };
        let apart = if found { LOOKS_APART } else { (strangers.apart * 2).max(LOOKS_APART) };
        strangers.apart = apart.min(LOOKS_APART_AT_MOST);
        strangers.next = now.monotonic + strangers.apart;
    }

    /// Judges what describes were made for, which have ended. * returns: whether they told of any of it.
    fn judge(&mut self, region: &Region, asked: Vec<Rumour>, unresolved: usize, now: Now) -> bool {
        let mut found = false;
        let mut kept = Vec::new();
        for Rumour { message, news, came } in asked {
            let before = news.len();
            let unknown: Vec<News> =
                news.into_iter().filter(|news| !self.take_news(region, news, now)).collect();
            found |= unknown.len() < before;
            let young = now.monotonic.saturating_sub(came) < KEPT_FOR;
            if unknown.is_empty() {
                self.settle(message, now);
            } else if unresolved > 0 && young {
                kept.push(Rumour { message, news: unknown, came });
            } else {
                self.foreign(message, now);
            }
        }
        let Some(strangers) = self.hearsay.strangers.get_mut(region) else { return found };
        strangers.kept.append(&mut kept);
        strangers.unresolved = unresolved;
        let beyond = strangers.kept.len().saturating_sub(KEPT);
        // Those that no warning is among are given up first, the oldest of them; then the oldest.
        strangers.kept.sort_by_key(Rumour::is_urgent);
        let beyond: Vec<Rumour> = strangers.kept.drain(..beyond).collect();
        for rumour in beyond {
            self.foreign(rumour.message, now);
        }
        found
    }

    /// A fleet is planned for in this event, whatever has been asked and not been answered.
    pub(crate) fn plan_now(&mut self, name: &FleetName) {
        self.waiting.remove(name);
        self.ready.insert(name.clone());
    }

    /// Plans for fleets whose time has come, whatever has been answered.
    pub(crate) fn plan_again(&mut self, now: Now) {
        if self.again.is_empty() {
            return;
        }
        let due: Vec<FleetName> =
            self.again.iter().filter(|(_, at)| **at <= now.monotonic).map(|(name, _)| name.clone()).collect();
        if due.is_empty() {
            return;
        }
        for name in due {
            self.again.remove(&name);
            if self.fleets.contains_key(&name) {
                self.plan_now(&name);
            }
        }
        self.ask_ledgers(now);
    }
}
