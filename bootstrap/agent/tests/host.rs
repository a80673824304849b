//! What is done as root on the agent's behalf, and above all what is not.

use bootstrap_agent::host::{Contents, Done, Hands, Host as _, Request, Spool, Units, Verb, is_asked, serve};
use bootstrap_config::{DirectoryRule, FileRule, HostSettings, PackageRule};
use fleet::{ErrorClass, Timestamp};
use fleet_clock::SystemClock;
use nix::unistd::getuid;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// The SHA-256 of "a package".
const PACKAGE: &str = "c0cd5ccfdb563a59366e33e73001b78fdb8cca5a6c48e2f90fffcde44b81f1f6";

/// Units on paper: what was asked, in order; packages by their file's name.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<String>>>, Arc<Mutex<Option<String>>>);

impl Paper {
    /// Has a file of the package be another one, until it is installed again.
    fn alter(&self, file: &str) {
        *self.1.lock().expect("whole") = Some(file.to_owned());
    }
    fn done(&self) -> Vec<String> {
        self.0.lock().expect("whole").clone()
    }
    fn note(&self, what: String) {
        self.0.lock().expect("whole").push(what);
    }
}

impl Units for Paper {
    fn act(&self, verb: Verb, unit: &str) -> Result<(), String> {
        self.note(format!("{} {unit}", verb.word()));
        Ok(())
    }
    fn installed(&self, _: &Path) -> Result<Option<String>, String> {
        Ok(self.done().iter().any(|done| done == "install").then(|| "1.5.0-1".to_owned()))
    }
    fn install(&self, _: &Path) -> Result<(), String> {
        self.note("install".to_owned());
        *self.1.lock().expect("whole") = None;
        Ok(())
    }
    fn altered(&self, _: &Path) -> Result<Option<String>, String> {
        Ok(self.1.lock().expect("whole").clone())
    }
    fn started(&self, _: &str) -> Result<Option<Timestamp>, String> {
        Ok(self.done().iter().any(|done| done.starts_with("restart")).then(|| Timestamp::from_secs(100)))
    }
    fn power_off(&self) -> Result<(), String> {
        self.note("power off".to_owned());
        Ok(())
    }
}

struct Bench {
    place: TempDir,
    units: Paper,
}

impl Bench {
    fn new() -> Self {
        Self { place: tempfile::tempdir().expect("a directory"), units: Paper::default() }
    }
    fn path(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }
    fn rules(&self) -> HostSettings {
        let id = getuid().to_string();
        let file = FileRule {
            path: self.path("etc/consul.json"),
            owner: id.clone(),
            group: id,
            mode: "0640".to_owned(),
            ..FileRule::named("consul")
        };
        HostSettings {
            units: vec!["consul.service".to_owned()],
            files: vec![file],
            packages: vec![PackageRule {
                name: "exporter".to_owned(),
                path: self.path("exporter.deb"),
                program: None,
                version: "1.5.0-1".to_owned(),
                sha256: PACKAGE.to_owned(),
            }],
            directories: vec![DirectoryRule { name: "consul".to_owned(), path: self.path("state") }],
            ..HostSettings::default()
        }
    }
    fn hands(&self) -> Hands<Paper> {
        Hands::new(self.rules(), self.units.clone())
    }
}

fn place(file: &str, contents: &str) -> Request {
    Request::Place { file: file.to_owned(), contents: Contents(contents.to_owned()) }
}
fn act(unit: &str) -> Request {
    Request::Unit { verb: Verb::Restart, unit: unit.to_owned() }
}

#[test]
fn a_file_is_written_whole_with_its_mode_and_only_where_it_differs() {
    let bench = Bench::new();
    let hands = bench.hands();
    let path = bench.path("etc/consul.json");
    assert_eq!(hands.carry_out(&place("consul", "{}")), Ok(Done::Changed));
    assert_eq!(hands.carry_out(&place("consul", "{}")), Ok(Done::Unchanged));
    let mode = |path: &str| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!((fs::read_to_string(&path).expect("read").as_str(), mode(&path)), ("{}", 0o640));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("set");
    assert_eq!(hands.carry_out(&place("consul", "{}")), Ok(Done::Changed), "its mode is part of it");
    assert_eq!(mode(&path), 0o640);
    // A link in its place is replaced, and what it led to is left alone.
    let other = bench.path("precious");
    fs::write(&other, "precious").expect("written");
    fs::remove_file(&path).expect("removed");
    symlink(&other, &path).expect("linked");
    assert_eq!(hands.carry_out(&place("consul", "{\"a\": 1}")), Ok(Done::Changed));
    assert_eq!(fs::read_to_string(&other).expect("read"), "precious");
    assert!(fs::symlink_metadata(&path).expect("it is there").is_file());
    let left = fs::read_dir(bench.path("etc")).expect("listed").count();
    assert_eq!(left, 1, "nothing half written is left");
}

#[test]
fn a_file_is_compared_by_what_it_holds_its_owner_and_its_mode_and_left_as_it_is() {
    let bench = Bench::new();
    let hands = bench.hands();
    let path = bench.path("etc/consul.json");
    let compare = |digest: &str| {
        hands.carry_out(&Request::Compare { file: "consul".to_owned(), sha256: digest.to_owned() })
    };
    assert_eq!(compare(PACKAGE), Ok(Done::Otherwise), "there is none");
    hands.carry_out(&place("consul", "a package")).expect("written");
    assert_eq!(compare(PACKAGE), Ok(Done::Unchanged));
    assert_eq!(compare(&"0".repeat(64)), Ok(Done::Otherwise));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
    assert_eq!(compare(PACKAGE), Ok(Done::Otherwise), "its mode is part of it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
    assert_eq!(compare(PACKAGE), Ok(Done::Unchanged));
    let other = bench.path("other");
    fs::rename(&path, &other).expect("moved");
    symlink(&other, &path).expect("linked");
    assert_eq!(compare(PACKAGE), Ok(Done::Otherwise), "a link leads anywhere");
    assert!(fs::symlink_metadata(&path).expect("it is there").is_symlink(), "nothing was changed");
}

#[test]
fn whether_a_unit_runs_since_before_a_time_is_told_to_the_second() {
    let bench = Bench::new();
    let hands = bench.hands();
    let before = |millis: i64| {
        let at = Timestamp::from_millis(millis);
        hands.carry_out(&Request::StartedBefore { unit: "consul.service".to_owned(), at })
    };
    assert_eq!(before(i64::MAX), Ok(Done::Otherwise), "it never was");
    hands.carry_out(&act("consul.service")).expect("restarted");
    assert_eq!(before(101_000), Ok(Done::Unchanged));
    assert_eq!(before(100_999), Ok(Done::Otherwise), "within that second nobody knows");
}

#[test]
fn what_the_image_does_not_name_is_refused_and_not_done() {
    let bench = Bench::new();
    let hands = bench.hands();
    for request in [
        place("sudoers", "x"),
        place("../consul", "x"),
        act("ssh.service"),
        Request::Install { package: "another".to_owned() },
        Request::Inspect { package: "another".to_owned() },
        Request::Compare { file: "sudoers".to_owned(), sha256: PACKAGE.to_owned() },
        Request::StartedBefore { unit: "ssh.service".to_owned(), at: Timestamp::EPOCH },
        Request::Empty { directory: "etc".to_owned() },
        Request::PowerOff,
    ] {
        let refused = hands.carry_out(&request).expect_err("it is not allowed");
        assert_eq!(refused.class, ErrorClass::Denied, "{refused}");
    }
    assert_eq!(bench.units.done(), [""; 0]);
    assert_eq!(hands.carry_out(&act("consul.service")), Ok(Done::Changed));
    assert_eq!(bench.units.done(), ["restart consul.service"]);
}

#[test]
fn a_package_is_installed_once_and_only_if_it_is_the_one_that_was_pinned() {
    let bench = Bench::new();
    let hands = bench.hands();
    let install = Request::Install { package: "exporter".to_owned() };
    fs::write(bench.path("exporter.deb"), b"another package").expect("written");
    let refused = hands.carry_out(&install).expect_err("another digest");
    assert!(refused.class == ErrorClass::Denied && refused.why.contains("SHA-256"), "{refused}");
    assert_eq!(bench.units.done(), [""; 0]);
    fs::write(bench.path("exporter.deb"), b"a package").expect("written");
    let inspect = || hands.carry_out(&Request::Inspect { package: "exporter".to_owned() });
    assert_eq!(inspect(), Ok(Done::Otherwise), "it is not there");
    assert_eq!(hands.carry_out(&install), Ok(Done::Changed));
    assert_eq!(hands.carry_out(&install), Ok(Done::Unchanged));
    assert_eq!((bench.units.done(), inspect()), (vec!["install".to_owned()], Ok(Done::Unchanged)));
    // The version is the same, and the program another one.
    bench.units.alter("/usr/bin/exporter");
    assert_eq!((bench.units.done(), inspect()), (vec!["install".to_owned()], Ok(Done::Otherwise)));
    assert_eq!(hands.carry_out(&install), Ok(Done::Changed));
    assert_eq!((bench.units.done().len(), inspect()), (2, Ok(Done::Unchanged)));
}

#[test]
fn a_program_is_put_in_its_place_as_it_was_pinned_and_again_where_it_is_another_one() {
    let bench = Bench::new();
    let mut rules = bench.rules();
    rules.packages[0].program = Some(bench.path("bin/exporter"));
    let hands = Hands::new(rules, bench.units.clone());
    let install = || hands.carry_out(&Request::Install { package: "exporter".to_owned() });
    let inspect = || hands.carry_out(&Request::Inspect { package: "exporter".to_owned() });
    let (file, program) = (bench.path("exporter.deb"), bench.path("bin/exporter"));
    let is = || {
        let mode = fs::metadata(&program).expect("it is there").permissions().mode() & 0o7777;
        (fs::read_to_string(&program).expect("read"), mode)
    };
    fs::write(&file, b"another program").expect("written");
    let refused = install().expect_err("another digest");
    assert!(refused.class == ErrorClass::Denied && refused.why.contains("SHA-256"), "{refused}");
    assert!(!fs::exists(&program).expect("seen"));
    fs::write(&file, b"a package").expect("written");
    assert_eq!(inspect(), Ok(Done::Otherwise), "it is not there");
    // As Debian has /usr/local/bin where there is a group of staff.
    fs::create_dir_all(bench.path("bin")).expect("made");
    chown(bench.path("bin"), None, Some(50)).expect("it needs root");
    fs::set_permissions(bench.path("bin"), fs::Permissions::from_mode(0o2775)).expect("set");
    assert_eq!(
        (install(), inspect(), install()),
        (Ok(Done::Changed), Ok(Done::Unchanged), Ok(Done::Unchanged))
    );
    assert_eq!(is(), ("a package".to_owned(), 0o755));
    // Somebody has it be another one, or run by root's rights.
    fs::write(&program, b"another program").expect("written");
    assert_eq!((inspect(), install()), (Ok(Done::Otherwise), Ok(Done::Changed)));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("set");
    assert_eq!((inspect(), install()), (Ok(Done::Otherwise), Ok(Done::Changed)));
    assert_eq!(is(), ("a package".to_owned(), 0o755));
    assert_eq!(bench.units.done(), [""; 0], "dpkg has no part in it");
}

#[test]
fn a_directory_is_emptied_itself_stays_and_a_link_in_its_place_is_refused() {
    let bench = Bench::new();
    let hands = bench.hands();
    let empty = Request::Empty { directory: "consul".to_owned() };
    assert_eq!(hands.carry_out(&empty), Ok(Done::Unchanged), "where there is none");
    fs::create_dir_all(bench.path("state/raft")).expect("made");
    fs::write(bench.path("state/node-id"), "x").expect("written");
    fs::create_dir(bench.path("elsewhere")).expect("made");
    fs::write(bench.path("elsewhere/precious"), "x").expect("written");
    symlink(bench.path("elsewhere"), bench.path("state/link")).expect("linked");
    // As Nomad leaves its tasks' secrets, and the host's volumes.
    fs::create_dir_all(bench.path("state/alloc/task one/secrets")).expect("made");
    let mount = Command::new("mount")
        .args(["--bind", &bench.path("elsewhere"), &bench.path("state/alloc/task one/secrets")])
        .status()
        .expect("mount is in every Debian");
    assert!(mount.success(), "it needs root");
    assert_eq!(hands.carry_out(&empty), Ok(Done::Changed));
    assert!(fs::exists(bench.path("elsewhere/precious")).expect("seen"), "what was mounted is as it was");
    assert_eq!(fs::read_dir(bench.path("state")).expect("it stays").count(), 0);
    fs::remove_dir(bench.path("state")).expect("removed");
    symlink(bench.path("elsewhere"), bench.path("state")).expect("linked");
    assert_eq!(hands.carry_out(&empty).expect_err("a link").class, ErrorClass::Denied);
    assert!(Path::new(&bench.path("elsewhere/precious")).exists());
}

/// Answers once. * returns: how many requests.
fn served(bench: &Bench, asker: u32) -> usize {
    serve(&bench.place.path().join("host"), asker, &bench.hands()).expect("it answers")
}

#[tokio::test]
async fn a_request_is_answered_removed_and_not_seen_by_others() {
    let bench = Bench::new();
    let spool = Spool::open(&bench.place.path().join("host"), Arc::new(SystemClock::new())).expect("a spool");
    let answer = tokio::spawn(async move { spool.ask(act("consul.service")).await });
    let requests = bench.place.path().join("host/requests");
    let mode = fs::metadata(&requests).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode & 0o077, 0, "a request may hold secrets");
    while served(&bench, getuid().as_raw()) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(answer.await.expect("it ends"), Ok(Done::Changed));
    assert_eq!(fs::read_dir(&requests).expect("listed").count(), 0);
}

/// Units that are slow to restart: until a test says so.
struct Slow {
    paper: Paper,
    goes_on: Mutex<Receiver<()>>,
}

impl Units for Slow {
    fn act(&self, verb: Verb, unit: &str) -> Result<(), String> {
        if verb == Verb::Restart {
            self.paper.note(format!("begins to {} {unit}", verb.word()));
            self.goes_on.lock().expect("whole").recv().map_err(|error| error.to_string())?;
        }
        self.paper.act(verb, unit)
    }
    fn installed(&self, file: &Path) -> Result<Option<String>, String> {
        self.paper.installed(file)
    }
    fn install(&self, file: &Path) -> Result<(), String> {
        self.paper.install(file)
    }
    fn altered(&self, file: &Path) -> Result<Option<String>, String> {
        self.paper.altered(file)
    }
    fn started(&self, unit: &str) -> Result<Option<Timestamp>, String> {
        self.paper.started(unit)
    }
    fn power_off(&self) -> Result<(), String> {
        self.paper.power_off()
    }
}

#[tokio::test]
async fn a_client_that_is_to_leave_waits_for_no_unit_that_is_slow_to_restart() {
    let bench = Bench::new();
    let root = bench.place.path().join("host");
    let spool = Arc::new(Spool::open(&root, Arc::new(SystemClock::new())).expect("a spool"));
    let (release, goes_on) = channel();
    let hands = Hands::new(bench.rules(), Slow { paper: bench.units.clone(), goes_on: Mutex::new(goes_on) });
    let serves = std::thread::spawn(move || {
        let mut answered = 0;
        while answered < 3 {
            answered += serve(&root, getuid().as_raw(), &hands).expect("it answers");
            std::thread::yield_now();
        }
        answered
    });
    let ask = |request| {
        let spool = Arc::clone(&spool);
        tokio::spawn(async move { spool.ask(request).await })
    };
    let restarted = ask(act("consul.service"));
    while bench.units.done().is_empty() {
        tokio::task::yield_now().await;
    }
    let written = ask(place("consul", "{}"));
    let leaves = Request::Unit { verb: Verb::Terminate, unit: "consul.service".to_owned() };
    assert_eq!(spool.ask(leaves).await, Ok(Done::Changed));
    let before = ["begins to restart consul.service", "terminate consul.service"];
    assert_eq!(bench.units.done(), before);
    assert!(!Path::new(&bench.path("etc/consul.json")).exists(), "what can wait waits");
    release.send(()).expect("it waits");
    assert_eq!(restarted.await.expect("it ends"), Ok(Done::Changed));
    assert_eq!(written.await.expect("it ends"), Ok(Done::Changed));
    assert_eq!(serves.join().expect("it ends"), 3);
}

#[test]
fn root_stays_for_the_next_request_and_for_nothing_else() {
    let bench = Bench::new();
    let root = bench.place.path().join("host");
    let requests = root.join("requests");
    assert!(!is_asked(&root, Duration::from_millis(30)), "nobody has asked yet");
    fs::create_dir_all(&requests).expect("made");
    // What is on its way to become a request, and what is none.
    for name in [".1-000000.json.new", "begun-1-000000.json", "x.json"] {
        fs::write(requests.join(name), "{}").expect("written");
    }
    assert!(!is_asked(&root, Duration::from_millis(30)));
    let stays = std::thread::spawn(move || is_asked(&root, Duration::from_secs(60)));
    fs::write(requests.join("1-000001.json"), "{}").expect("written");
    assert!(stays.join().expect("it ends"));
}

#[test]
fn what_root_was_killed_in_the_middle_of_is_said_and_what_is_no_request_does_not_start_it_again() {
    let bench = Bench::new();
    let requests = bench.place.path().join("host/requests");
    fs::create_dir_all(requests.join("directory.json")).expect("made");
    let text = serde_json::to_string(&act("consul.service")).expect("JSON");
    for name in ["begun-1-000000.json", "begun-1-000001.json", "x.json", "begun-.json"] {
        fs::write(requests.join(name), &text).expect("written");
    }
    fs::write(requests.join(OsStr::from_bytes(b"\xff.json")), &text).expect("written");
    // It had answered this one, and was killed before it took it away.
    let answers = bench.place.path().join("host/answers");
    fs::create_dir_all(&answers).expect("made");
    fs::write(answers.join("1-000001.json"), "{\"Ok\":\"changed\"}").expect("written");
    assert_eq!(served(&bench, getuid().as_raw()), 1);
    assert_eq!(bench.units.done(), [""; 0], "it is not tried again");
    let answer = |name: &str| fs::read_to_string(answers.join(name)).expect("an answer");
    let cut = answer("1-000000.json");
    assert!(cut.contains("unclear") && cut.contains("in the middle of it"), "{cut}");
    assert!(answer("1-000001.json").contains("changed"));
    assert_eq!(fs::read_dir(&requests).expect("listed").count(), 0, "the path unit has nothing to see");
}

#[test]
fn what_an_agent_that_was_killed_had_asked_is_not_done_but_that_a_client_leaves() {
    let bench = Bench::new();
    let root = bench.place.path().join("host");
    let requests = root.join("requests");
    fs::create_dir_all(&requests).expect("made");
    let write = |name: &str, request: &Request| {
        fs::write(requests.join(name), serde_json::to_string(request).expect("JSON")).expect("written");
    };
    let leaves = Request::Unit { verb: Verb::Terminate, unit: "consul.service".to_owned() };
    write("1-000000.json", &place("consul", "a secret"));
    write("1-000001.json", &act("consul.service"));
    write("1-000002-now.json", &leaves);
    let _spool = Spool::open(&root, Arc::new(SystemClock::new())).expect("a spool");
    // Nothing else comes before others.
    write("2-000000-now.json", &act("consul.service"));
    assert_eq!(served(&bench, getuid().as_raw()), 2);
    assert_eq!(bench.units.done(), ["terminate consul.service"]);
    let refused = fs::read_to_string(root.join("answers/2-000000-now.json")).expect("an answer");
    assert!(refused.contains("none that cannot wait"), "{refused}");
}

#[test]
fn answers_are_kept_for_those_who_may_wait_for_them_and_no_longer() {
    let bench = Bench::new();
    let requests = bench.place.path().join("host/requests");
    fs::create_dir_all(&requests).expect("made");
    let text = serde_json::to_string(&act("consul.service")).expect("JSON");
    let ask = |name: &str| fs::write(requests.join(name), &text).expect("written");
    let answers = || {
        let listed = fs::read_dir(bench.place.path().join("host/answers")).expect("listed").flatten();
        let mut names: Vec<String> =
            listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    for number in 0..100 {
        ask(&format!("1-{number:06}.json"));
    }
    assert_eq!(served(&bench, getuid().as_raw()), 100);
    let left = answers();
    assert_eq!((left.len(), left[0].as_str(), left[63].as_str()), (64, "1-000036.json", "1-000099.json"));
    ask("2-000000.json");
    assert_eq!(served(&bench, getuid().as_raw()), 1);
    assert_eq!(answers(), ["2-000000.json"], "nobody of an earlier start waits");
}

#[test]
fn a_link_in_the_place_of_a_directory_of_the_spool_is_not_followed() {
    let bench = Bench::new();
    let (host, elsewhere) = (bench.place.path().join("host"), bench.place.path().join("elsewhere"));
    let serve = || serve(&host, getuid().as_raw(), &bench.hands());
    let ask = |name: &str| {
        let text = serde_json::to_string(&act("consul.service")).expect("JSON");
        fs::write(host.join("requests").join(name), text).expect("written");
    };
    fs::create_dir_all(host.join("requests")).expect("made");
    fs::create_dir(&elsewhere).expect("made");
    for precious in ["daemon.json", "begun-1-000000.json", "1-000000.json"] {
        fs::write(elsewhere.join(precious), "precious").expect("written");
    }
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).expect("ours");
    for name in ["answers", "requests"] {
        ask("1-000001.json");
        let _ = fs::rename(host.join(name), host.join("away"));
        symlink(&elsewhere, host.join(name)).expect("linked");
        let why = serve().expect_err("a link").to_string();
        assert!(why.contains(name) && why.contains("no directory"), "{why}");
        assert!(!fs::exists(host.join(name)).expect("seen"), "who starts it for a file finds none");
        if name == "requests" {
            fs::rename(host.join("away"), host.join(name)).expect("back");
        }
        assert_eq!(serve().expect("the next one makes it anew"), 1, "{name}");
    }
    fs::rename(&host, bench.place.path().join("away")).expect("renamed");
    symlink(&elsewhere, &host).expect("linked");
    assert!(serve().expect_err("a link").to_string().contains("no directory"));
    let mut left: Vec<_> =
        fs::read_dir(&elsewhere).expect("listed").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["1-000000.json", "begun-1-000000.json", "daemon.json"]);
    assert_eq!(fs::metadata(&elsewhere).expect("there").permissions().mode() & 0o777, 0o700);
}

#[test]
fn answers_are_written_into_a_directory_of_roots_own_alone_and_another_is_removed() {
    let bench = Bench::new();
    let host = bench.place.path().join("host");
    fs::create_dir_all(host.join("requests")).expect("made");
    fs::create_dir(host.join("answers")).expect("made");
    fs::write(host.join("answers/1-000000.json"), "the agent's").expect("written");
    // Only root can give it to somebody else.
    chown(host.join("answers"), Some(getuid().as_raw() + 1), None).expect("the test runs as root");
    let text = serde_json::to_string(&act("consul.service")).expect("JSON");
    fs::write(host.join("requests/1-000000.json"), text).expect("written");
    assert_eq!(served(&bench, getuid().as_raw()), 1);
    let answers = fs::metadata(host.join("answers")).expect("there");
    assert_eq!((answers.uid(), answers.mode() & 0o777), (getuid().as_raw(), 0o711));
    let answer = fs::read_to_string(host.join("answers/1-000000.json")).expect("an answer");
    assert_eq!(answer, "{\"Ok\":\"changed\"}");
    // What is above it belongs to whoever asks, or to root.
    chown(&host, Some(getuid().as_raw() + 2), None).expect("the test runs as root");
    let why = serve(&host, getuid().as_raw() + 1, &bench.hands()).expect_err("somebody else's").to_string();
    assert!(why.contains("its owner is"), "{why}");
    assert!(fs::exists(host.join("answers/1-000000.json")).expect("seen"));
}

#[test]
fn what_another_user_or_a_link_asks_is_refused() {
    let bench = Bench::new();
    let requests = bench.place.path().join("host/requests");
    fs::create_dir_all(&requests).expect("made");
    let text = serde_json::to_string(&act("consul.service")).expect("JSON");
    let someone_else = getuid().as_raw() + 1;
    fs::write(requests.join("1-000000.json"), &text).expect("written");
    assert_eq!(served(&bench, someone_else), 1);
    let elsewhere = bench.path("request");
    fs::write(&elsewhere, &text).expect("written");
    symlink(&elsewhere, requests.join("1-000001.json")).expect("linked");
    fs::write(requests.join("1-000002.json"), "{\"unit\": {\"verb\": \"restart\"}}").expect("written");
    fs::write(requests.join("1-000003.json"), format!("{text}{}", " ".repeat(1_100_000))).expect("written");
    fs::write(requests.join("notes.txt"), &text).expect("written");
    assert_eq!(served(&bench, getuid().as_raw()), 3);
    assert_eq!(bench.units.done(), [""; 0], "nothing of it was done");
    for name in ["1-000000", "1-000001", "1-000002", "1-000003"] {
        let answer = fs::read_to_string(bench.place.path().join(format!("host/answers/{name}.json")));
        assert!(answer.expect("an answer").contains("malformed"), "{name}");
    }
    assert!(Path::new(&elsewhere).exists(), "what a link led to is left alone");
}
