//! Secrets that were let go are nowhere in memory: it is searched for them.
//!
//! What is searched for is never written down here as it is: it would be found where it was written.

use bootstrap_agent::host::{Contents, Host as _, Request, Spool};
use bootstrap_agent::http::secret_of;
use bootstrap_core::Secret;
use bootstrap_vault::Wiped;
use fleet_clock::SystemClock;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A secret, each byte of which has its highest bit set here.
struct Plant(Vec<u8>);

/// What an allocator writes into memory that it was given back may hide as much of it, at both ends.
const HIDDEN: usize = 32;
const LENGTH: usize = 160;

impl Plant {
    fn new(number: u8) -> Self {
        let letter =
            |at: usize| b'a' + u8::try_from((at * (7 + usize::from(number)) + at / 13) % 26).expect("small");
        Self((0..LENGTH).map(|at| letter(at) | 0x80).collect())
    }

    /// As it is, without a copy that stays.
    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        self.0.iter().for_each(|byte| text.push(char::from(byte & 0x7f)));
        text
    }

    /// Whether its middle is anywhere in this process's memory that can be written to.
    fn is_there(&self) -> bool {
        let needle = &self.0[HIDDEN..LENGTH - HIDDEN];
        let maps = fs::read_to_string("/proc/self/maps").expect("Linux tells");
        let mut memory = File::open("/proc/self/mem").expect("its own");
        let mut found = false;
        // Its own copy of what it reads is not looked at.
        let mut piece = Zeroizing::new(vec![0_u8; 1 << 20]);
        let own = piece.as_ptr().addr();
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let (from, rest) = line.split_once('-').expect("a range");
            let to = rest.split(' ').next().expect("a range");
            let number = |text| usize::from_str_radix(text, 16).expect("an address");
            let (mut at, to) = (number(from), number(to));
            while at < to {
                let size = piece.len().min(to - at);
                let start = u64::try_from(at).expect("an address");
                let read = memory.seek(SeekFrom::Start(start)).and_then(|_| memory.read(&mut piece[..size]));
                let Ok(read @ 1..) = read else { break };
                let is_hit = |window: &[u8]| {
                    window.iter().zip(needle).all(|(byte, hidden)| byte | 0x80 == *hidden && byte < &0x80)
                };
                let hits =
                    piece[..read].windows(needle.len()).enumerate().filter(|(_, window)| is_hit(window));
                found |=
                    hits.map(|(offset, _)| at + offset).any(|hit| !(own..own + piece.len()).contains(&hit));
                // One that lies across the end of a piece is in the next one.
                at += if read < size || at + read == to { read } else { read - needle.len() };
            }
        }
        found
    }
}

#[test]
fn a_secret_that_was_let_go_is_nowhere_in_memory() {
    let plant = Plant::new(0);
    assert!(!plant.is_there());
    let careless = String::from(plant.text().as_str());
    assert!(plant.is_there(), "what is careless is found");
    drop(Zeroizing::new(careless));

    let secret = Secret::new(plant.text().as_str());
    let (copy, shown) = (secret.clone(), secret.strike_from("nothing of it"));
    assert!(plant.is_there());
    drop((secret, copy, shown));
    assert!(!plant.is_there(), "a secret and its copies");

    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("token");
    fs::write(&file, plant.text().as_bytes()).expect("written");
    let token = secret_of(&file).expect("it is there");
    assert!(plant.is_there());
    drop(token);
    assert!(!plant.is_there(), "a token of a file");

    let mut wiped = Wiped::new(1 << 20);
    for piece in plant.text().as_bytes().chunks(40) {
        assert!(wiped.append(piece));
    }
    // It has to move, more than once.
    for _ in 0..100 {
        assert!(wiped.append(&[b' '; 1000]));
    }
    assert!(plant.is_there());
    drop(wiped.into_inner());
    assert!(!plant.is_there(), "an answer that grew");
}

#[tokio::test]
async fn what_root_was_asked_to_write_is_nowhere_in_memory_once_it_is_written() {
    let plant = Plant::new(1);
    let place = tempfile::tempdir().expect("a directory");
    let root = place.path().to_owned();
    let spool = Arc::new(Spool::open(&root, Arc::new(SystemClock::new())).expect("a spool"));
    // As a configuration: with what JSON has to escape.
    let mut contents = String::with_capacity(LENGTH + 64);
    contents.push_str("{\"token\": \"");
    contents.push_str(&plant.text());
    contents.push_str("\"}\n");
    let request = Request::Place { file: "consul".to_owned(), contents: Contents(contents) };
    let asking = Arc::clone(&spool);
    let asked = tokio::spawn(async move { asking.ask(request).await });
    let name = loop {
        let there = fs::read_dir(root.join("requests")).expect("listed").flatten().next();
        let name =
            there.map(|entry| entry.file_name()).filter(|name| !name.to_string_lossy().starts_with('.'));
        match name {
            Some(name) => break name,
            None => tokio::task::yield_now().await,
        }
    };
    fs::create_dir(root.join("answers")).expect("made");
    fs::write(root.join("answers").join(name), "{\"Ok\":\"changed\"}").expect("written");
    asked.await.expect("it ends").expect("it is done");
    assert!(!plant.is_there());
}
