//! Plays a day: moves the world and the daemon's clock in step, lets agents speak, and waits until the daemon has
//! nothing left to do before time moves on. So the figures do not depend on how fast the machine is.

use super::agents::Agents;
use super::frame::{Frame, Past, decision_line};
use super::scene::{NAME, Scene};
use anyhow::{Context, Result};
use autoscaler::Handle;
use autoscaler_core::Decision;
use autoscaler_engine::Decided;
use fleet::ports::Clock;
use fleet::{FleetId, FleetName};
use fleet_clock::{SteppedClock, SystemClock};
use fleet_cloud::CloudServer;
use fleet_sim::World;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A day that is being played.
pub struct Play {
    /// The world, which the cloud serves.
    pub world: Arc<Mutex<World>>,
    /// The time of world and daemon.
    pub clock: SteppedClock,
    /// The cloud.
    pub cloud: CloudServer,
    /// The daemon.
    pub daemon: Handle,
    /// The nodes' agents.
    pub agents: Agents,
    /// The fleet.
    pub fleet: FleetId,
    /// How much faster than the host's time the world's runs at most; `None`: as fast as it can.
    pub speed: Option<f64>,
    /// How long the day is.
    pub length: Duration,
    /// What was seen so far.
    pub seen: Seen,
}

/// What was seen so far.
pub struct Seen {
    /// Now.
    pub frame: Option<Frame>,
    /// Before.
    pub past: Past,
    /// The decisions that changed something, oldest first, as lines.
    pub decisions: Vec<String>,
    /// Units bought and given back.
    pub moved: [u64; 2],
    /// The last decision that was taken in. There may be several at one instant of the world's time.
    last: Option<Decided>,
}

impl Seen {
    /// Nothing yet, of a day of this length.
    pub fn new(length: Duration) -> Self {
        Self { frame: None, past: Past::new(length), decisions: Vec::new(), moved: [0; 2], last: None }
    }
}

/// What watches a day being played.
pub trait Audience {
    /// Called after each moment. * returns: whether to go on.
    fn watch(&mut self, seen: &Seen) -> Result<bool>;
    /// Called while the pace is waited for, some ten times a second. * returns: whether to go on.
    fn meanwhile(&mut self, seen: &Seen) -> Result<bool>;
}

/// How long the pace is waited for at most before the audience is asked again.
const GLANCE: Duration = Duration::from_millis(80);

impl Play {
    fn world(&self) -> MutexGuard<'_, World> {
        // A panic elsewhere leaves the world whole: it is changed by whole calls.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays to the end, or until the audience has seen enough. * returns: whether it was played to its end.
    pub async fn run(&mut self, audience: &mut dyn Audience) -> Result<bool> {
        let host = SystemClock::new();
        self.daemon.idle().await;
        while let Some(next) = self.next() {
            if !self.pace(&host, next, audience).await? {
                return Ok(false);
            }
            self.world().advance(Scene::start() + next);
            self.cloud.world_moved();
            self.clock.advance_to(next);
            self.daemon.idle().await;
            self.agents.push(&self.world).await?;
            self.daemon.idle().await;
            self.look().await?;
            if !audience.watch(&self.seen)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// When something happens next, in the world or in the daemon; `None` at the end of the day.
    fn next(&self) -> Option<Duration> {
        let world = self.world().next_event().map(|at| at.since(Scene::start()));
        let next = [world, self.clock.next_wake()].into_iter().flatten().min()?;
        // Something that is due already still needs a step of time, or nothing would ever move.
        let next = next.max(self.clock.monotonic() + Duration::from_millis(1));
        (next <= self.length).then_some(next)
    }

    async fn pace(&self, host: &SystemClock, next: Duration, audience: &mut dyn Audience) -> Result<bool> {
        let Some(speed) = self.speed else { return Ok(true) };
        let due = next.div_f64(speed);
        while host.monotonic() < due {
            let glance = host.monotonic() + GLANCE;
            host.sleep_until(glance.min(due)).await;
            if !audience.meanwhile(&self.seen)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn look(&mut self) -> Result<()> {
        let frame = Frame::of(&self.world(), &self.fleet).context("the demo's fleet is gone")?;
        self.seen.past.add(&frame);
        self.seen.frame = Some(frame);
        let decisions =
            self.daemon.decisions(FleetName::new(NAME)).await.context("failed to ask the daemon")?;
        let decisions = decisions.unwrap_or_default();
        for decided in later(&decisions, self.seen.last.as_ref()) {
            match decided.report.decision {
                Decision::ScaleOut { from, to } => self.seen.moved[0] += u64::from(to.saturating_sub(from)),
                Decision::ScaleIn { from, to } => self.seen.moved[1] += u64::from(from.saturating_sub(to)),
                _ => {}
            }
            self.seen.decisions.extend(decision_line(decided, Scene::start()));
        }
        self.seen.last = decisions.into_iter().next_back().or(self.seen.last.take());
        Ok(())
    }
}

/// The decisions, oldest first, that came after `last`. That one need not be among them any more: of a steady hour
/// the newest is kept.
fn later<'a>(decisions: &'a [Decided], last: Option<&Decided>) -> &'a [Decided] {
    let Some(last) = last else { return decisions };
    let place = decisions.iter().rposition(|decided| decided == last);
    let known =
        place.map_or_else(|| decisions.partition_point(|decided| decided.at <= last.at), |place| place + 1);
    &decisions[known..]
}
