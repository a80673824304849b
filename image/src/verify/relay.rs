//! Relays: what listens on this host's loopback is reached by a machine at its gateway, or where it looks for it.

use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// The most connections through one relay at a time; others wait.
const MOST: usize = 256;
/// How many more may wait for the kernel.
const BACKLOG: u32 = 128;

/// A relay. Dropped, it takes no more connections.
#[derive(Debug)]
pub(super) struct Relay(JoinHandle<()>);

impl Relay {
    /// Listens at an address of this host, and passes on.
    ///
    /// * `device`: the network whose machines alone are heard, so that others may have another one at the same address.
    pub fn start(at: SocketAddr, device: Option<&str>, to: SocketAddr) -> std::io::Result<Self> {
        let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        if let Some(device) = device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        socket.bind(at)?;
        let listener = socket.listen(BACKLOG)?;
        let places = Arc::new(Semaphore::new(MOST));
        Ok(Self(tokio::spawn(async move {
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                // One that is gone already is no matter.
                let Ok((mut from, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        // Whichever side ends it: the other learns by its end of the stream.
                        let _ = copy_bidirectional(&mut from, &mut to).await;
                    }
                    drop(place);
                });
            }
        })))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}
