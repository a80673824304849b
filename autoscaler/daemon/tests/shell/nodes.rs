//! Nodes, seen by the whole daemon: what Nomad's event stream says is looked at while no time passes.

use crate::harness::{MINUTE, Stage, world};
use autoscaler_nomad::{Nomad, Options};
use fleet_sim::Demand;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

const PATIENCE: Duration = Duration::from_secs(60);
const MOVED: &str = r#"{"Index":7,"Events":[{"Topic":"Node","Type":"NodeDrain","Key":"n","Index":7,"Payload":{"Node":{"ID":"n","Status":"ready","SchedulingEligibility":"ineligible","Attributes":{}}}}]}"#;

/// A Nomad without nodes: all lists are empty, and its event stream tells of a change each time that it is told to.
async fn nomad(asked: mpsc::UnboundedSender<String>, moves: Arc<Notify>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, asked.clone(), Arc::clone(&moves)));
        }
    });
    address
}

async fn answer(stream: TcpStream, asked: mpsc::UnboundedSender<String>, moves: Arc<Notify>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await.ok()?;
    let mut line = String::new();
    while stream.read_line(&mut line).await.ok()? > 2 {
        line.clear();
    }
    let path = first.split(['?', ' ']).nth(1)?.to_owned();
    let streams = path == "/v1/event/stream";
    asked.send(path).ok()?;
    if !streams {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
        return stream.write_all(answer.as_bytes()).await.ok();
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{}\n").await.ok()?;
    loop {
        moves.notified().await;
        stream.write_all(format!("{MOVED}\n").as_bytes()).await.ok()?;
    }
}

/// Waits until Nomad was asked for this.
async fn until(asked: &mut mpsc::UnboundedReceiver<String>, wanted: &str) {
    let found = async { while asked.recv().await.expect("it runs") != wanted {} };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("never asked for {wanted}"));
}

#[tokio::test]
async fn what_the_event_stream_tells_is_looked_at_while_no_time_passes() {
    let (sender, mut asked) = mpsc::unbounded_channel();
    let moves = Arc::new(Notify::new());
    let addresses = vec![nomad(sender, Arc::clone(&moves)).await];
    let mut stage = Stage::new(world(&Demand::constant(3.0)));
    stage.config.nomad = Some(Nomad::new(Options { addresses, ..Options::default() }).expect("good options"));
    let id = crate::harness::fleet_id(0);
    stage.write_policies(&format!(
        "fleet \"web\" {{\n  id = \"{id}\"\n  drain {{\n    by = \"nomad\"\n  }}\n  workload {{\n    kind = \"spreads\"\n  }}\n}}\n"
    ));
    stage.start().await;
    stage.run(MINUTE).await;
    until(&mut asked, "/v1/event/stream").await;
    // Its beginning is looked at, too.
    until(&mut asked, "/v1/nodes").await;
    for _ in 0..3 {
        stage.handle().idle().await;
        while asked.try_recv().is_ok() {}
        moves.notify_one();
        until(&mut asked, "/v1/nodes").await;
    }
}
