//! From Debian to a node: a base is baked by Packer on a machine that boots Debian, and a node on one that boots that base.

use crate::bakes::Bakes;
use crate::cloud;
use crate::disks::Disks;
use crate::pipeline::Pipeline;
use crate::timeline::Timeline;
use muster_test_servers::Tinyproxy;
use serde_json::{Value, json};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tests::machine::succeed;

/// What no image may have of the machine that it was made of: no base either, which nobody but a bake boots. As `find` names it.
const OF_THE_MACHINE: [&str; 5] = ["ssh_host_*", "authorized_keys", "random-seed", "*.journal", "*.log"];

/// How one of the images is baked.
type Bake = fn(&Pipeline) -> String;
/// The images, each on the one before.
const BAKES: [(&str, Bake); 2] =
    [("a base", Pipeline::bake_base), ("a node on that base", Pipeline::bake_node)];

/// Bakes both, and takes everything down. * returns: what was seen, and how it ended.
pub fn play() -> (Timeline, thread::Result<()>) {
    let imager = crate::beside("muster-image");
    let debian = tests::tools::debian().unwrap_or_else(|missing| panic!("{missing}"));
    let timeline = Timeline::begin();
    crate::end_on_signals(&timeline);
    let (lan, cloud) = crate::account(&timeline);
    // Their network has no other way to Debian's archive.
    let proxy = Tinyproxy::start(proxy_of_this_host().as_deref());
    let disks = Arc::new(Disks::new([(cloud::debian(&cloud), debian)]));
    let asks = format!("Acquire::http::Proxy \"http://{}\";\n", proxy.at());
    let told = vec![("/etc/apt/apt.conf.d/00way-out".to_owned(), 0o644, asks)];
    let bakes = Bakes::follow(Arc::clone(&cloud), lan, Arc::clone(&disks), told, timeline.clone());
    let place = tempfile::tempdir().expect("a directory");
    let site = place.path().join("said.json");
    fs::write(&site, said(&cloud.certificate()).to_string()).expect("a file");
    let played = catch_unwind(AssertUnwindSafe(|| {
        let pipeline = Pipeline::new(&cloud, imager, &site, None, &timeline);
        bake(&pipeline, &disks, &timeline);
    }));
    drop((bakes, proxy, place));
    (timeline, played)
}

/// The proxy that apt on this host asks itself, as `HOST:PORT`.
fn proxy_of_this_host() -> Option<String> {
    let said = succeed(Command::new("apt-config").args(["shell", "proxy", "Acquire::http::Proxy"]));
    let url = said.trim().strip_prefix("proxy='http://")?.strip_suffix('\'')?;
    Some(url.trim_end_matches('/').to_owned())
}

/// What a site says of its images. * `certificate`: of its cloud; it stands for those of its authorities, too.
fn said(certificate: &str) -> Value {
    json!({
        "image_registry": "registry.test:5000",
        "image_registry_authority": certificate,
        "image_trusted_authorities": { "site": certificate },
        "muster_identity_certificates": certificate,
    })
}

fn bake(pipeline: &Pipeline, disks: &Disks, timeline: &Timeline) {
    let measured = |what: &str, since: Duration| {
        let took = timeline.now().saturating_sub(since);
        timeline.measured(what, format!("{:.1} s", took.as_secs_f64()));
    };
    for (what, bake) in BAKES {
        let begun = timeline.now();
        let image = bake(pipeline);
        measured(&format!("{what} by Packer and Ansible on a machine"), begun);
        let disk = disks.of(&image).unwrap_or_else(|error| panic!("{error}"));
        is_nobodys(&disk.root());
        let begun = timeline.now();
        pipeline.verify_baked(&disk.root());
        measured(&format!("{what} until it is verified"), begun);
        timeline.say(&format!("{image} is {what}, and well"));
    }
}

/// An image has nothing of the machine that it was made of, nor of the network that this was in.
fn is_nobodys(root: &Path) {
    let mut find = Command::new("find");
    find.args(["etc", "home", "root", "var"]).current_dir(root).args(["-type", "f", "-size", "+0c", "("]);
    for name in OF_THE_MACHINE {
        find.args(["-name", name, "-o"]);
    }
    let found = succeed(find.args(["-path", "etc/apt/*way-out", ")"]));
    assert_eq!(found, "", "left of the machine");
    let id = fs::read_to_string(root.join("etc/machine-id")).expect("a file");
    assert_eq!(id.trim(), "", "the machine's id");
}
