//! Who watches the demo: a screen, lines of text, or nobody.

use super::Interrupted;
use super::drive::{Audience, Seen};
use super::plain::Plain;
use super::scene::Scene;
use super::screen::{Scenery, Screen};
use anyhow::{Context, Result};
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use std::net::SocketAddr;
use std::time::Duration;

/// Nobody: only an interrupt ends it early.
pub struct Quiet(pub Interrupted);

impl Audience for Quiet {
    fn watch(&mut self, _seen: &Seen) -> Result<bool> {
        Ok(!self.0.is_set())
    }
    fn meanwhile(&mut self, _seen: &Seen) -> Result<bool> {
        Ok(!self.0.is_set())
    }
}

/// Lines of text on standard output.
pub struct Teller {
    plain: Plain,
    told: usize,
    interrupted: Interrupted,
}

impl Teller {
    /// Says what is played and where to look.
    pub fn new(scene: &Scene, address: SocketAddr, interrupted: Interrupted) -> Result<Self> {
        Plain::line(&format!(
            "{}: {} of load on a Spot Fleet",
            scene.title,
            fleet::DurationText(scene.length)
        ))?;
        for (pool, from, until) in scene.dry() {
            let [from, until] = [from, until].map(super::frame::clock_time);
            Plain::line(&format!("{pool} will have no capacity from {from} to {until}"))?;
        }
        Plain::line(&format!("http://{address} answers status, explain and /metrics\n"))?;
        Ok(Self { plain: Plain::default(), told: 0, interrupted })
    }
}

impl Audience for Teller {
    fn watch(&mut self, seen: &Seen) -> Result<bool> {
        if let Some(frame) = &seen.frame {
            self.plain.frame(frame).context("failed to print")?;
        }
        for line in seen.decisions.iter().skip(self.told) {
            Plain::line(line).context("failed to print")?;
        }
        self.told = seen.decisions.len();
        Ok(!self.interrupted.is_set())
    }
    fn meanwhile(&mut self, _seen: &Seen) -> Result<bool> {
        Ok(!self.interrupted.is_set())
    }
}

/// A screen.
pub struct Viewer {
    screen: Screen,
    title: String,
    length: Duration,
    address: String,
    interrupted: Interrupted,
    host: SystemClock,
    drawn: Duration,
}

/// How often the screen is drawn at most.
const REDRAW: Duration = Duration::from_millis(70);

impl Viewer {
    /// Takes the terminal over until it is dropped.
    pub fn open(scene: &Scene, address: SocketAddr, interrupted: Interrupted) -> Result<Self> {
        Ok(Self {
            screen: Screen::open()?,
            title: scene.title.clone(),
            length: scene.length,
            address: address.to_string(),
            interrupted,
            host: SystemClock::new(),
            drawn: Duration::ZERO,
        })
    }
}

impl Audience for Viewer {
    fn watch(&mut self, seen: &Seen) -> Result<bool> {
        // Looking at the keyboard at each moment of a world at full speed would cost more than the world.
        if self.host.monotonic() < self.drawn + REDRAW { Ok(true) } else { self.meanwhile(seen) }
    }
    fn meanwhile(&mut self, seen: &Seen) -> Result<bool> {
        self.drawn = self.host.monotonic();
        if let Some(frame) = &seen.frame {
            self.screen.draw(&Scenery {
                title: &self.title,
                frame,
                past: &seen.past,
                length: self.length,
                decisions: &seen.decisions,
                address: &self.address,
            })?;
        }
        Ok(!Screen::wants_to_quit()? && !self.interrupted.is_set())
    }
}
