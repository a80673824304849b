//! What the operating system tells a daemon.

use crate::{Daemon, Ended};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals a daemon listens to. Made early, so that none is missed.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen; from here on none of them ends the process by itself.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Runs a daemon to its end: SIGHUP reloads the policies, the first SIGTERM or SIGINT stops it gracefully, the
    /// second at once.
    pub async fn govern(mut self, mut daemon: Daemon) -> Ended {
        let handle = daemon.handle();
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = daemon.finished() => return ended,
                Some(()) = self.hangup.recv() => {
                    tracing::info!("received SIGHUP");
                    if let Err(error) = handle.begin_reload() {
                        tracing::warn!(%error, "could not reload policies");
                    }
                    continue;
                }
                Some(()) = self.interrupt.recv() => tracing::info!("received SIGINT"),
                Some(()) = self.terminate.recv() => tracing::info!("received SIGTERM"),
            }
            if stopping {
                return daemon.kill().await;
            }
            stopping = true;
            handle.stop();
        }
    }
}
