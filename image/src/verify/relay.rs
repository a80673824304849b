//! Relays: what listens on this host's loopback is reached by a machine at its gateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// The most connections through one relay at a time; others wait.
const MOST: usize = 256;

/// A relay. Dropped, it takes no more connections.
#[derive(Debug)]
pub(super) struct Relay(JoinHandle<()>);

impl Relay {
    /// Listens at the gateway, at the port of `to`, and passes on.
    pub async fn start(gateway: Ipv4Addr, to: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((gateway, to.port())).await?;
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
