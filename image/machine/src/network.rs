//! The networks of machines: a bridge, with this host at its other end.

use crate::{MachineError, succeed};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many numbers are tried before it is given up.
const TRIES: u32 = 64;
/// How many networks of four addresses there are in what is tried: half of 198.18.0.0/15, which is set aside for benchmarks.
const NETWORKS: u32 = 1 << 14;

/// A network of machines, and of this host. Dropped, it is gone.
#[derive(Debug)]
pub struct Lan {
    bridge: String,
    gateway: Ipv4Addr,
    prefix: u8,
}

impl Lan {
    /// Makes a network.
    ///
    /// * `bridge`: its name, of 15 characters at most, which nobody has.
    /// * `gateway`: this host's address in it.
    /// * `prefix`: how many bits of it are the network's.
    pub fn new(bridge: &str, gateway: Ipv4Addr, prefix: u8) -> Result<Self, MachineError> {
        succeed("ip", "iproute2", &["link", "add", bridge, "type", "bridge"])?;
        let lan = Self { bridge: bridge.to_owned(), gateway, prefix };
        lan.answer_at(gateway, prefix)?;
        succeed("ip", "iproute2", &["link", "set", bridge, "up"])?;
        Ok(lan)
    }

    /// Gives this host one more address in it, such as the metadata service's.
    pub fn answer_at(&self, address: Ipv4Addr, prefix: u8) -> Result<(), MachineError> {
        let address = format!("{address}/{prefix}");
        succeed("ip", "iproute2", &["address", "add", &address, "dev", &self.bridge]).map(drop)
    }

    /// This host's address in it.
    pub const fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // It was there: who cannot remove it can do nothing else about it either.
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).output();
    }
}

/// A machine's place in a network.
#[derive(Clone, Debug)]
pub struct Place {
    lan: Arc<Lan>,
    /// The machine's name: at most 64 letters, digits and `-`. Its interface on this host is called by it.
    pub name: String,
    /// The machine's address.
    pub address: Ipv4Addr,
}

impl Place {
    /// A place among others.
    pub fn on(lan: &Arc<Lan>, name: &str, address: Ipv4Addr) -> Self {
        Self { lan: Arc::clone(lan), name: name.to_owned(), address }
    }

    /// The only one of a network of four addresses that nobody has.
    pub fn alone() -> Result<Self, MachineError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..TRIES {
            let number =
                std::process::id().wrapping_mul(8).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let number = number % NETWORKS;
            let base = u32::from(Ipv4Addr::new(198, 19, 0, 0)) + number * 4;
            let name = format!("musterm{number:x}");
            // A bridge of this name is somebody's: the kernel says so.
            let lan = match Lan::new(&name, Ipv4Addr::from(base + 1), 30) {
                Err(MachineError::Failed { said, .. }) if said.contains("File exists") => continue,
                made => made?,
            };
            return Ok(Self { lan: Arc::new(lan), name, address: Ipv4Addr::from(base + 2) });
        }
        Err(MachineError::NoNetwork)
    }

    /// This host's address in its network.
    pub fn gateway(&self) -> Ipv4Addr {
        self.lan.gateway
    }
    pub(crate) fn bridge(&self) -> &str {
        &self.lan.bridge
    }
    pub(crate) fn answer_at(&self, address: Ipv4Addr) -> Result<(), MachineError> {
        self.lan.answer_at(address, 32)
    }
    /// How the machine's network is to be set up, in systemd's words. No router speaks IPv6 here: a boot would wait for one.
    pub(crate) fn settings(&self) -> String {
        let Self { lan, address, .. } = self;
        format!(
            "[Match]\nName=host0\n[Network]\nAddress={address}/{}\nGateway={}\nIPv6AcceptRA=no\n",
            lan.prefix, lan.gateway
        )
    }
}
