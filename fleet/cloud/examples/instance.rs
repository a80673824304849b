//! The metadata service of one instance of a loopback cloud, for benches and for trying the agent without AWS.
//!
//! Writes the certificate of its identity documents to the file of its argument, prints the address of the service, and
//! ends with its standard input.

use fleet::ports::Clock;
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer};
use fleet_sim::{Demand, FleetRequest, FleetSpec, World, WorldSpec};
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("a file for the certificate is missing")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let request_of = FleetRequest { target: 1, ..FleetRequest::default() };
    let fleet = FleetSpec {
        request: request_of,
        initial: Some(1),
        load: Demand::constant(0.5),
        ..FleetSpec::default()
    };
    let spec = WorldSpec { fleets: vec![fleet], ..WorldSpec::default() };
    let mut world = World::new(spec, 5, clock.wall() - Duration::from_secs(3600));
    world.advance(clock.wall());
    let instance = world.shown_instances()[0].id.clone();
    let world = Arc::new(Mutex::new(world));
    let runtime = tokio::runtime::Runtime::new()?;
    let config = CloudConfig { speed: Some(1.0), ..CloudConfig::new(world, clock) };
    let server = runtime.block_on(CloudServer::start(config))?;
    let mut stream = TcpStream::connect(server.addr())?;
    write!(stream, "GET /_muster/identity-certificate HTTP/1.1\r\nHost: cloud\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let body: serde_json::Value = serde_json::from_str(body)?;
    std::fs::write(file, body["pem"].as_str().ok_or("no certificate")?)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}/_imds/{instance}", server.endpoint())?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
