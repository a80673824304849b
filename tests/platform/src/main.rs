//! The whole platform on one machine: `muster-platform`.

mod awx;
mod bakes;
mod chain;
mod cloud;
mod disks;
mod left;
mod load;
mod machines;
mod node;
mod pipeline;
mod report;
mod scenes;
mod site;
mod timeline;
mod user_data;
mod work;

use bakes::Bakes;
use clap::Parser;
use cloud::METADATA;
use disks::Disks;
use machines::Machines;
use muster_machine::Lan;
use scenes::Platform;
use site::Site;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tests::ground::Cloud;
use timeline::Timeline;
use tokio::signal::unix::{SignalKind, signal};

/// This host's address in the machines' network; they have those that follow.
const HERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);
const BAKES: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 200);
const BRIDGE: &str = "muster0";
/// Who gives the autoscaler orders.
const OPERATOR: &str = "0p3rat0r-0f-the-platform-0123456789abcdef";
const IMAGE: &str = "ami-0a0a0a0a0a0a0a0a0";

/// Real machines, servers and programs, all on this host.
#[derive(Parser)]
#[command(name = "muster-platform")]
struct Args {
    /// The root file system that machines boot; baked unless given, or found baked before.
    #[arg(long)]
    image: Option<PathBuf>,
    /// In place of all that: a base is baked on a machine that boots Debian, and a node on one that boots that base.
    #[arg(long, conflicts_with = "image")]
    bake_base: bool,
    /// A file that the report is written to, as a page for a browser.
    #[arg(long)]
    report: Option<PathBuf>,
}

#[expect(clippy::print_stderr, reason = "a program for people")]
fn main() {
    let args = Args::parse();
    let ground = left::Ground::new(BRIDGE).unwrap_or_else(|why| {
        eprintln!("muster-platform: {why}");
        std::process::exit(75)
    });
    // Whatever fails, what was seen until then is told.
    let (timeline, played) = if args.bake_base { chain::play() } else { play(args.image) };
    let left = ground.behind();
    if left.is_empty() {
        timeline.say("everything is taken down, nothing is left behind");
    }
    timeline.measured("from nothing to nothing", format!("{:.0} s", timeline.now().as_secs_f64()));
    print(&report::text(&timeline));
    if let Some(path) = args.report {
        std::fs::write(&path, report::page(&timeline))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    assert!(left.is_empty(), "left behind: {left:#?}");
    if let Err(why) = played {
        resume_unwind(why);
    }
}

/// The machines' network, and AWS in it.
fn account(timeline: &Timeline) -> (Arc<Lan>, Arc<Cloud>) {
    let lan = Arc::new(Lan::new(BRIDGE, HERE, 24).unwrap_or_else(|error| panic!("{error}")));
    lan.answer_at(METADATA, 32).unwrap_or_else(|error| panic!("{error}"));
    muster_test_servers::listen_at(HERE);
    let cloud = Arc::new(cloud::start(HERE, FIRST, BAKES));
    timeline.say(&format!("AWS is at {}", cloud.endpoint()));
    (lan, cloud)
}

/// The whole platform, which is taken down at the end. * returns: what was seen, and how it ended.
fn play(image: Option<PathBuf>) -> (Timeline, std::thread::Result<()>) {
    let program = beside("muster-autoscaler");
    let root = image.unwrap_or_else(|| tests::image::baked().0);
    let timeline = Timeline::begin();
    end_on_signals(&timeline);
    let (lan, cloud) = account(&timeline);
    let disks = Arc::new(images(&cloud, &root));
    let bakes = Bakes::follow(
        Arc::clone(&cloud),
        Arc::clone(&lan),
        Arc::clone(&disks),
        machines::Files::new(),
        timeline.clone(),
    );
    let variables = tests::image::variables(&root);
    let site = Arc::new(Site::start(&cloud, BRIDGE, variables, &timeline));
    timeline.say("Consul, Nomad, Vault and the registry run");
    let image = site.push("1");
    timeline.say(&format!("pushed {image}"));
    let place = tempfile::tempdir().expect("a directory");
    let (identity, operators) = (place.path().join("aws"), place.path().join("operators"));
    std::fs::create_dir(&identity).expect("a directory");
    std::fs::write(identity.join("eu-west-1.pem"), cloud.certificate()).expect("a file");
    std::fs::write(&operators, format!("{OPERATOR}\n")).expect("a file");
    cloud::put_parameters(&cloud, &node::parameters(&site, &cloud));
    cloud::request_fleet(&cloud, IMAGE, &node::user_data());
    timeline.say(&format!("{} is requested, of two machines", cloud.fleet()));
    work::submit(&site, &cloud, &program, &identity, &operators);
    let files = node::files(&site, &cloud);
    let machines = Machines::follow(Arc::clone(&cloud), lan, Arc::clone(&disks), files, timeline.clone());
    let names = Arc::new(load::Names::of(site.consul.dns().expect("it answers names")));
    let platform = Platform {
        names,
        cloud,
        site,
        machines,
        timeline: timeline.clone(),
        image,
        autoscaler: program,
        imager: beside("muster-image"),
        operators,
        root,
        disks,
    };
    let played = catch_unwind(AssertUnwindSafe(|| platform.play()));
    drop((platform, bakes, place));
    (timeline, played)
}

/// The images that the account has: a base, and a node's that is in stable.
fn images(cloud: &Cloud, root: &Path) -> Disks {
    cloud.put_image(IMAGE, false);
    let tags = [("muster:image", "base"), ("muster:architecture", "amd64")];
    let base = cloud.put_tagged_image("muster-base", &tags);
    let of_base = tests::tools::base_image().unwrap_or_else(|missing| panic!("{missing}"));
    Disks::new([(IMAGE.to_owned(), root.to_owned()), (base, of_base)])
}

/// One of our programs, in the directory of this one.
fn beside(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a program knows where it is").with_file_name(name);
    assert!(program.is_file(), "{} is missing: cargo build -p {name}", program.display());
    program
}

fn print(text: &str) {
    // Who does not listen any more does not miss it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Has everything that goes on given up, and taken down, once the program is told to end.
fn end_on_signals(timeline: &Timeline) {
    let timeline = timeline.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut terminated = signal(SignalKind::terminate()).expect("signals");
            let mut interrupted = signal(SignalKind::interrupt()).expect("signals");
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        });
        timeline.end();
    });
}
