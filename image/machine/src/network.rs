//! The network of a machine: a bridge of its own, with this host at its other end.

use crate::{MachineError, succeed};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many numbers are tried before it is given up.
const TRIES: u32 = 64;
/// How many networks of four addresses there are in what is tried: half of 198.18.0.0/15, which is set aside for benchmarks.
const NETWORKS: u32 = 1 << 14;

/// A network of four addresses. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Network {
    pub bridge: String,
    /// This host's address in it.
    pub here: Ipv4Addr,
    /// The machine's.
    pub there: Ipv4Addr,
}

impl Network {
    /// The next one that nobody has.
    pub fn new() -> Result<Self, MachineError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..TRIES {
            let number =
                std::process::id().wrapping_mul(8).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let number = number % NETWORKS;
            let base = u32::from(Ipv4Addr::new(198, 19, 0, 0)) + number * 4;
            let bridge = format!("musterm{number:x}");
            // A bridge of this name is somebody's: the kernel says so.
            let made = succeed("ip", "iproute2", &["link", "add", &bridge, "type", "bridge"]);
            match made {
                Err(MachineError::Failed { said, .. }) if said.contains("File exists") => continue,
                made => made?,
            };
            let network = Self { bridge, here: Ipv4Addr::from(base + 1), there: Ipv4Addr::from(base + 2) };
            let address = format!("{}/30", network.here);
            succeed("ip", "iproute2", &["address", "add", &address, "dev", &network.bridge])?;
            succeed("ip", "iproute2", &["link", "set", &network.bridge, "up"])?;
            return Ok(network);
        }
        Err(MachineError::NoNetwork)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // It was there: who cannot remove it can do nothing else about it either.
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).output();
    }
}
