//! `muster-image` as a process: a bake by a real Packer on the loopback cloud, the proof of a real root file system, channels and
//! the janitor with their exit codes.

use fleet_cloud::{CloudConfig, FaultKind, HttpFault};
use fleet_sim::{FleetSpec, World, WorldSpec};
use muster_test_servers::wait_for;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tests::account::Account;
use tests::ground::Cloud;
use tests::image::{Packer, TREE, baked};
use tests::machine::{Overlay, succeed};
use tests::programs::{ended, image};
use tests::tools;

/// The program, in an account.
fn in_account(account: &Account) -> Command {
    let mut command = image();
    command.envs(account.environment());
    command
}

/// How it ended with these arguments: (exit code, standard output, standard error).
fn run(account: &Account, arguments: &[&str]) -> (i32, String, String) {
    ended(in_account(account).args(arguments))
}

#[test]
fn a_bake_makes_an_image_on_the_loopback_cloud_that_says_what_it_is_and_leaves_nothing_else() {
    let account = Account::fast();
    let base = account.image("muster-base", 2, &[("muster:image", "base"), ("muster:architecture", "amd64")]);
    account.image("older", 9, &[("muster:image", "base"), ("muster:architecture", "amd64")]);
    let packer = Packer::new();
    let manifest = packer.place.path().join("image.json");
    let mut bake = in_account(&account);
    bake.args([
        "bake",
        "--build",
        "rehearsal",
        "--commit",
        "0123abc",
        "--endpoint",
        &account.server.endpoint(),
    ]);
    bake.arg("--packer").arg(&packer.program).arg("--manifest").arg(&manifest).current_dir(TREE);
    // The option alone says where EC2 is; AWS's own is not to be reached by whoever does not hear it.
    bake.env_remove("AWS_ENDPOINT_URL").env("HTTPS_PROXY", "http://127.0.0.1:1");
    let (code, out, said) = ended(bake.envs(packer.environment()));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Launching a spot AWS instance"), "Packer's lines are passed on: {said}");

    let told: Value = serde_json::from_str(&fs::read_to_string(manifest).expect("a manifest")).expect("JSON");
    let id = told["ami"].as_str().expect("an image");
    assert_eq!(out.trim(), id);
    let version = Command::new(format!("{TREE}/image/playbook-version")).output().expect("it runs").stdout;
    let version = String::from_utf8(version).expect("text");
    assert_eq!((&told["commit"], &told["playbook"]), (&json!("0123abc"), &json!(version.trim())));

    let made = &account.ask(&["ec2", "describe-images", "--image-ids", id])["Images"][0];
    assert_eq!((&made["State"], &made["ImdsSupport"]), (&json!("available"), &json!("v2.0")), "{made}");
    assert!(made["DeprecationTime"].is_string(), "{made}");
    let disk = &made["BlockDeviceMappings"][0]["Ebs"];
    assert_eq!(disk["Encrypted"], json!(true), "{made}");
    let snapshot = disk["SnapshotId"].as_str().expect("a snapshot");
    let snapshot = &account.ask(&["ec2", "describe-snapshots", "--snapshot-ids", snapshot])["Snapshots"][0];
    for resource in [made, snapshot] {
        let tags = resource["Tags"].as_array().expect("tags");
        for (key, value) in [
            ("muster:commit", "0123abc"),
            ("muster:playbook", version.trim()),
            ("muster:base", &base),
            ("muster:base-name", "muster-base"),
            ("muster:architecture", "amd64"),
        ] {
            assert!(tags.contains(&json!({"Key": key, "Value": value})), "{key}: {resource}");
        }
    }
    let left = |words: &[&str], what: &str| account.ask(words)[what].as_array().expect(what).len();
    assert_eq!(left(&["ec2", "describe-key-pairs"], "KeyPairs"), 0);
    assert_eq!(left(&["ec2", "describe-security-groups"], "SecurityGroups"), 0);
    let templates = account.ask(&["ec2", "describe-launch-templates"]);
    assert!(!templates.to_string().contains("packer"), "{templates}");
    let machines = account.ask(&["ec2", "describe-instances"]);
    let machines = machines["Reservations"].as_array().expect("a list");
    let [machine] = &machines[..] else { panic!("one machine: {machines:?}") };
    let state = machine["Instances"][0]["State"]["Name"].as_str();
    assert!(matches!(state, Some("shutting-down" | "terminated")), "{machine}");
}

#[test]
fn a_bake_that_fails_says_so_and_writes_no_manifest() {
    let account = Account::new();
    let packer = Packer::new();
    let manifest = packer.place.path().join("image.json");
    let bake = |program: &Path| {
        let mut bake = in_account(&account);
        bake.args(["bake", "--build", "rehearsal", "--commit", "0123abc"]);
        bake.args(["--endpoint", &account.server.endpoint(), "--packer"]).arg(program);
        ended(bake.arg("--manifest").arg(&manifest).envs(packer.environment()).current_dir(TREE))
    };
    // There is no base image.
    let (code, _, said) = bake(&packer.program);
    assert_eq!(code, 65, "{said}");
    let (code, _, said) = bake(Path::new("/nowhere/packer"));
    assert!(code == 69 && said.contains("/nowhere/packer"), "{code} {said}");
    assert!(!manifest.exists());
}

fn verified(root: &Path, manifest: &Path) -> (i32, Value, String) {
    let mut verify = image();
    verify.env("PATH", tests::image::PATH).arg("verify").arg(root).arg("--manifest").arg(manifest);
    let (code, out, said) = ended(verify.args(["--format", "json"]));
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{said}")), said)
}

/// The names of the checks that did not pass.
fn failing(report: &Value) -> BTreeSet<&str> {
    let checks = report["checks"].as_array().expect("checks").iter();
    checks
        .filter(|check| check["passed"] == json!(false))
        .filter_map(|check| check["name"].as_str())
        .collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are shown")]
fn an_image_is_proved_by_booting_it_and_what_is_wrong_with_one_is_told() {
    let (root, manifest) = baked();
    let path = root.with_file_name(format!("{}.json", root.file_name().expect("a name").to_string_lossy()));
    let (code, report, said) = verified(&root, &path);
    assert_eq!((code, failing(&report)), (0, BTreeSet::new()), "{report:#}\n{said}");
    assert_eq!(report["playbook"], manifest["playbook"]);
    assert_eq!(report["passed"], json!(true));
    for check in report["checks"].as_array().expect("checks") {
        println!("{}: {}", check["name"], check["found"]);
    }

    // A secret, a program that is another one, a unit that fails, a port that is open, and one that does not wait.
    let overlay = Overlay::new(&root);
    overlay.write("root/.aws/credentials", 0o600, "planted");
    let nomad = overlay.root().join("usr/local/bin/nomad");
    let mut bytes = fs::read(&nomad).expect("it is there");
    bytes.push(b'\n');
    fs::write(&nomad, bytes).expect("written");
    let unit = |run: &str| format!("[Service]\nExecStart={run}\n[Install]\nWantedBy=multi-user.target\n");
    overlay.write("etc/systemd/system/bad.service", 0o644, &unit("/bin/false"));
    let listen = "/usr/bin/python3 -m http.server 8099";
    overlay.write("etc/systemd/system/open.service", 0o644, &unit(listen));
    for unit in ["bad.service", "open.service", "prometheus-node-exporter.service"] {
        assert!(overlay.chroot(&["systemctl", "enable", unit]).status.success(), "{unit}");
    }
    let (code, report, said) = verified(&overlay.root(), &path);
    let failing = failing(&report);
    for check in ["secrets and identities", "programs", "boot", "failed units", "open ports", "units"] {
        assert!(failing.contains(check), "{check}: {report:#}\n{said}");
    }
    assert_eq!((code, &report["passed"]), (65, &json!(false)));
    assert_eq!(report["facts"]["failed"], json!(["bad.service"]), "{report:#}");
}

/// An account whose one instance is whoever asks by this host's loopback, as what a relay passes on does.
fn account_of_this_host() -> Cloud {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Cloud::serve(listen, CloudConfig::FIRST_MACHINE, |now| {
        let fleets = vec![FleetSpec { initial: Some(1), ..FleetSpec::default() }];
        World::new(WorldSpec { fleets, first_address: Ipv4Addr::LOCALHOST, ..WorldSpec::default() }, 5, now)
    })
}

#[test]
fn an_agent_that_is_told_where_its_services_are_boots_the_node_and_one_that_cannot_fails_the_image() {
    let (root, _) = baked();
    let manifest =
        root.with_file_name(format!("{}.json", root.file_name().expect("a name").to_string_lossy()));
    let cloud = account_of_this_host();
    let place = tempfile::tempdir().expect("a directory");
    let [config, certificate] = ["agent.hcl", "aws.pem"].map(|name| place.path().join(name));
    fs::write(&certificate, cloud.certificate()).expect("written");
    let metadata = cloud.endpoint().rsplit_once(':').expect("a port").1.to_owned();
    let text = format!(
        "identity {{\n  endpoints = [\"http://@HERE@:{metadata}\"]\n  certificates = [\"/etc/muster/of-this-test.pem\"]\n}}\n\
         monitoring {{\n  series = [\"node_load1\"]\n}}\nstep \"identity\" {{\n  attempt = \"2s\"\n  deadline = \"5s\"\n}}\n"
    );
    fs::write(&config, text).expect("written");
    let proved = |more: &[&str]| {
        let mut verify = image();
        verify.env("PATH", tests::image::PATH).arg("verify").arg(&root).arg("--manifest").arg(&manifest);
        verify.arg("--config").arg(&config).args(["--relay", &format!("127.0.0.1:{metadata}")]).args(more);
        let (code, out, said) = ended(verify.args(["--format", "json"]));
        let report: Value =
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{said}"));
        (code, report, said)
    };
    let put = format!("{}:/etc/muster/of-this-test.pem", certificate.display());
    let (code, report, said) = proved(&["--put", &put]);
    assert_eq!((code, failing(&report)), (0, BTreeSet::new()), "{report:#}\n{said}");
    assert_eq!(report["facts"]["agent"]["code"], json!(0), "{report:#}");

    let (code, report, said) = proved(&["--timeout", "90s"]);
    assert_eq!((code, failing(&report)), (65, BTreeSet::from(["agent", "units"])), "{report:#}\n{said}");
}

#[test]
fn channels_move_by_commands_and_say_what_became_of_it_by_their_exit_codes() {
    let account = Account::new();
    let tags = [("muster:image", "node"), ("muster:commit", "0123abc")];
    let [first, second] = ["node-1", "node-2"].map(|name| account.image(name, 1, &tags));
    let publish = |id: &str| run(&account, &["publish", "--image", id, "--unverified"]);
    let (code, _, said) = run(&account, &["promote"]);
    assert!(code == 69 && said.contains("canary is empty"), "{code} {said}");
    for id in [&first, &second] {
        assert_eq!(publish(id).0, 0);
        assert_eq!(account.channel("canary").as_ref(), Some(id));
        let (code, out, said) = run(&account, &["promote"]);
        assert_eq!((code, out.trim()), (0, id.as_str()), "{said}");
        assert_eq!(account.channel("stable").as_ref(), Some(id));
    }
    assert_eq!(run(&account, &["promote"]).0, 0, "once more changes nothing");
    assert_eq!(run(&account, &["promote", "--after", "1h"]).0, 75, "too soon");
    assert_eq!(run(&account, &["promote", "--expect", &first]).0, 75, "somebody else was first");
    assert_eq!(run(&account, &["rollback", "stable", "--expect", &first]).0, 75);
    let (code, out, _) = run(&account, &["rollback", "stable", "--expect", &second]);
    assert_eq!((code, out.trim()), (0, first.as_str()));
    let (code, _, said) = run(&account, &["promote"]);
    assert!(code == 65 && said.contains("was taken back"), "{code} {said}");
    assert_eq!(run(&account, &["promote", "--again"]).0, 0);
    assert_eq!(account.channel("stable").as_ref(), Some(&second));
    assert_eq!(run(&account, &["publish", "--image", "ami-0000000000000000a", "--unverified"]).0, 69);
    assert_eq!(run(&account, &["rollback", "Stable"]).0, 64, "no name of a channel");
    assert_eq!(run(&account, &["publish", "--image", &first]).0, 64, "without a report or --unverified");

    let (code, out, _) = run(&account, &["channels", "--format", "json"]);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &told[1]["image"]), (0, &json!(second)));
    let how: Vec<&Value> =
        told[1]["journal"].as_array().expect("a list").iter().map(|entry| &entry["change"]["type"]).collect();
    assert_eq!(how, ["promoted", "promoted", "rolled_back", "promoted"]);
    // Somebody writes to the parameter by hand: it is seen, and mended by the next change.
    account.ask(&[
        "ssm",
        "put-parameter",
        "--name",
        "/muster/images/stable",
        "--value",
        &first,
        "--overwrite",
    ]);
    assert_eq!(run(&account, &["channels"]).0, 75);
    assert_eq!(run(&account, &["promote"]).0, 0);
    assert_eq!(account.channel("stable").as_ref(), Some(&second));
}

#[test]
fn the_janitor_does_nothing_unless_it_is_told_to() {
    let account = Account::new();
    let tags = [("muster:image", "node"), ("muster:commit", "0123abc")];
    let id = account.image("node-1", 60, &tags);
    let there = || {
        account.ask(&["ec2", "describe-images", "--owners", "self", "--filters", "Name=name,Values=node-1"])
    };
    let deprecated = || there()["Images"][0]["DeprecationTime"].is_string();
    for arguments in [&["janitor", "--newest", "0"][..], &["janitor", "--newest", "0", "--dry-run"]] {
        let (code, out, said) = run(&account, arguments);
        assert!(code == 0 && out.contains("deprecate") && out.contains(&id), "{code} {out} {said}");
        assert!(!deprecated());
    }
    let (_, out, _) = run(&account, &["janitor"]);
    assert!(out.contains("is number 1 of the newest"), "{out}");
    // Of another account than it is to be: nothing of it is touched.
    let other = ["janitor", "--newest", "0", "--apply", "--account", "210987654321"];
    let (code, out, _) = run(&account, &other);
    assert!(code == 0 && out.contains("is of the account 123456789012") && !deprecated(), "{out}");
    let (code, out, said) = run(&account, &["janitor", "--newest", "0", "--apply", "--format", "json"]);
    assert_eq!(code, 0, "{said}");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["carried"][0]["action"], json!("deprecate"), "{told}");
    assert!(deprecated());
}

/// Ends what `bake` began, in the middle of it: at a line, once `ready` has returned. * returns: exit code, what it said.
fn cut_short(mut bake: Command, at: &str, ready: impl Fn()) -> (Option<i32>, String) {
    let mut child =
        bake.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
    let mut said = String::new();
    let mut told = false;
    for line in BufReader::new(child.stderr.take().expect("piped")).lines() {
        let line = line.expect("text");
        said.push_str(&line);
        said.push('\n');
        if !told && line.contains(at) {
            told = true;
            ready();
            succeed(Command::new("kill").args(["-TERM", &child.id().to_string()]));
        }
    }
    let status = child.wait().expect("it ends");
    assert!(told, "{at} was never said:\n{said}");
    (status.code(), said)
}

#[test]
fn a_bake_that_is_interrupted_has_packer_remove_what_it_had_made() {
    let (account, packer) = (Account::fast(), Packer::new());
    let manifest = packer.place.path().join("image.json");
    let mut bake = rehearsal(&account, &packer);
    bake.arg("--manifest").arg(&manifest);
    // By then there are a key pair and a security group, and soon a launch template and an instance.
    let (code, said) = cut_short(bake, "Launching a spot AWS instance", || ());
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("ending the bake: Packer removes what it has made"), "{said}");
    assert!(!manifest.exists(), "nothing was made");
    nothing_is_left(&account, &said);
}

/// Of a bake that was ended there is nothing in the account.
fn nothing_is_left(account: &Account, said: &str) {
    let left = |words: &[&str], what: &str| account.ask(words)[what].as_array().expect(what).len();
    assert_eq!(left(&["ec2", "describe-key-pairs"], "KeyPairs"), 0, "{said}");
    assert_eq!(left(&["ec2", "describe-security-groups"], "SecurityGroups"), 0, "{said}");
    let baked =
        ["ec2", "describe-images", "--owners", "self", "--filters", "Name=tag-key,Values=muster:image"];
    assert_eq!(left(&baked, "Images"), 1, "the base alone: {said}");
    // One that was cut off while it was made has not got its own tags yet.
    let made =
        ["ec2", "describe-images", "--owners", "self", "--filters", "Name=name,Values=muster-rehearsal-*"];
    assert_eq!(left(&made, "Images"), 0, "{said}");
    let of_bakes =
        ["ec2", "describe-snapshots", "--owner-ids", "self", "--filters", "Name=tag-key,Values=muster:bake"];
    assert_eq!(left(&of_bakes, "Snapshots"), 0, "{said}");
    let templates = account.ask(&["ec2", "describe-launch-templates"]);
    assert!(!templates.to_string().contains("packer"), "{templates}");
    let machines = account.ask(&["ec2", "describe-instances"]);
    for machine in machines["Reservations"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|one| one["Instances"].as_array().expect("a list"))
    {
        let state = machine["State"]["Name"].as_str().expect("a state");
        assert!(["shutting-down", "terminated"].contains(&state), "{machine}");
    }
}

/// A bake by the real Packer, of a machine without the playbook.
fn rehearsal(account: &Account, packer: &Packer) -> Command {
    account.image("muster-base", 2, &[("muster:image", "base"), ("muster:architecture", "amd64")]);
    let mut bake = in_account(account);
    let endpoint = account.server.endpoint();
    bake.args(["bake", "--build", "rehearsal", "--commit", "0123abc", "--endpoint", &endpoint]);
    bake.arg("--packer").arg(&packer.program).arg("--templates").arg(format!("{TREE}/image/packer"));
    // Where its plugin panics, Packer leaves a crash.log.
    bake.current_dir(packer.place.path()).envs(packer.environment());
    bake
}

/// Packer forgets an image that it waits for.
#[test]
fn an_image_that_is_being_made_when_packer_is_cut_off_is_removed_with_its_snapshot() {
    let (account, packer) = (Account::fast(), Packer::new());
    let bake = rehearsal(&account, &packer);
    let (code, said) = cut_short(bake, "Waiting for AMI to become ready", || ());
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("removed the image ami-") && said.contains("removed the snapshot snap-"), "{said}");
    nothing_is_left(&account, &said);
}

/// Cuts a bake off in one of its calls, which EC2 carries out only eight seconds later: a launch template is left and removed.
fn cut_off_in(call: &str, line_before: &str) {
    let (account, packer) = (Account::fast(), Packer::new());
    let late = FaultKind::Latency { millis: 8000 };
    account.server.set_faults(vec![HttpFault { times: Some(1), ..HttpFault::new(late, &[call]) }]);
    let bake = rehearsal(&account, &packer);
    let asked = || wait_for(call, || (account.server.faults()[0].times == Some(0)).then_some(()));
    let (code, said) = cut_short(bake, line_before, asked);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("removed the launch template lt-"), "{said}");
    nothing_is_left(&account, &said);
}

/// Told to end, Packer removes its launch template by its name, while EC2 is still about to make it.
#[test]
fn a_launch_template_that_is_made_only_after_packer_was_cut_off_is_removed() {
    cut_off_in("CreateLaunchTemplate", "Creating Spot Fleet launch template");
}

/// Packer's plugin does not outlive that.
#[test]
fn what_packer_leaves_that_is_cut_off_while_its_machine_is_launched_is_removed() {
    cut_off_in("CreateFleet", "Created Spot Fleet launch template");
}

/// A Packer that makes one of each kind that a bake makes, by the AWS CLI, each with the bake's tag; and one that is another's.
fn packer_that_leaves_all(path: &Path, account: &Account) {
    let image = account.image("muster-base", 2, &[]);
    let aws = tools::aws_clients().unwrap_or_else(|missing| panic!("{missing}")).join("aws");
    let text = format!(
        r#"for word; do case $word in bake=*) bake=${{word#bake=}} ;; esac; done
ec2() {{ {} --endpoint-url {} --output text ec2 "$@" || exit 2; }}
tags() {{ echo "ResourceType=$1,Tags=[{{Key=muster:bake,Value=$2}}]"; }}
group=$(ec2 create-security-group --group-name packer --description x --tag-specifications "$(tags security-group "$bake")" --query GroupId)
ec2 create-key-pair --key-name packer --key-type ed25519 --tag-specifications "$(tags key-pair "$bake")" --query KeyPairId
for of in "$bake" other; do
    ec2 create-launch-template --launch-template-name "template-$of" --launch-template-data ImageId={image} \
        --tag-specifications "$(tags launch-template "$of")" --query LaunchTemplate.LaunchTemplateId
done
ec2 run-instances --image-id {image} --instance-type m5.large --security-group-ids "$group" \
    --tag-specifications "$(tags instance "$bake")" --query 'Instances[0].InstanceId'
exit 1"#,
        aws.display(),
        account.server.endpoint(),
    );
    script(path, &text);
}

#[test]
fn what_a_packer_that_failed_has_left_is_removed_and_what_is_anothers_stays() {
    let account = Account::new();
    let place = tempfile::tempdir().expect("a directory");
    let packer = place.path().join("packer");
    packer_that_leaves_all(&packer, &account);
    let mut bake = in_account(&account);
    bake.args(["bake", "--build", "rehearsal", "--commit", "0123abc", "--packer"])
        .arg(&packer)
        .current_dir(TREE);
    let (code, _, said) = ended(&mut bake);
    assert_eq!(code, 65, "{said}");
    let removed: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("removed the ")?.split('-').next()).collect();
    // The group only once the instance has ended.
    assert_eq!(removed, ["instance i", "launch template lt", "key pair key", "security group sg"], "{said}");
    let tags = account.ask(&["ec2", "describe-tags", "--filters", "Name=key,Values=muster:bake"]);
    let left: BTreeSet<(&str, bool)> = tags["Tags"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|tag| (tag["ResourceType"].as_str().expect("a type"), tag["Value"] == json!("other")))
        .collect();
    // EC2 shows an instance for a while after its end.
    assert_eq!(left, BTreeSet::from([("instance", false), ("launch-template", true)]), "{tags}");
    let machines = account.ask(&["ec2", "describe-instances"]);
    assert_eq!(
        machines["Reservations"][0]["Instances"][0]["State"]["Name"],
        json!("terminated"),
        "{machines}"
    );
}

#[test]
fn what_may_not_be_removed_is_told_and_a_second_interrupt_ends_the_search() {
    let account = Account::new();
    let place = tempfile::tempdir().expect("a directory");
    let packer = place.path().join("packer");
    packer_that_leaves_all(&packer, &account);
    account
        .server
        .set_faults(vec![HttpFault::new(FaultKind::Deny, &["DeleteKeyPair", "DeleteLaunchTemplate"])]);
    let bake = |build: &[&str]| {
        let mut bake = in_account(&account);
        bake.args(["bake", "--commit", "0123abc", "--packer"]).arg(&packer).args(build).current_dir(TREE);
        bake
    };
    let (code, _, said) = ended(&mut bake(&["--build", "rehearsal"]));
    assert_eq!(code, 65, "{said}");
    for told in ["cannot remove the key pair key-", "aws ec2 delete-launch-template --launch-template-id lt-"]
    {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(said.contains("removed the security group sg-"), "{said}");

    script(&packer, "exit 1");
    let (code, said) =
        cut_short(bake(&["--build", "rehearsal"]), "looking for what Packer has left behind", || ());
    assert_eq!(code, Some(65), "Packer had failed: {said}");
    assert!(
        said.contains("interrupted: what Packer has left behind") && said.contains("Values=muster:bake"),
        "{said}"
    );

    // A directory has nothing in AWS; and where AWS cannot be asked, the bake has failed as before.
    let (code, _, said) = ended(&mut bake(&["--build", "rootfs", "--rootfs", "/nowhere"]));
    assert!(code == 65 && !said.contains("left behind"), "{code} {said}");
    let (code, _, said) = ended(bake(&["--build", "rehearsal"]).env_remove("AWS_ACCESS_KEY_ID"));
    assert!(code == 65 && said.contains("cannot see what Packer has left behind"), "{code} {said}");
}

/// Writes a program of the shell.
fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it may be run");
}

/// What Packer is started with: its words and the address of EC2 in its environment.
#[test]
fn packer_is_told_the_region_of_awss_configuration_and_where_ec2_is() {
    let place = tempfile::tempdir().expect("a directory");
    let packer = place.path().join("packer");
    script(&packer, "echo \"at $AWS_ENDPOINT_URL_EC2:\" \"$@\"\nexit 1");
    let bake = |words: &[&str]| {
        let mut bake = image();
        bake.args(["bake", "--commit", "0123abc", "--build"]).args(words).arg("--packer").arg(&packer);
        bake.env("AWS_REGION", "us-east-2").env("AWS_EC2_METADATA_DISABLED", "true").current_dir(TREE);
        let (code, _, said) = ended(&mut bake);
        assert_eq!(code, 65, "{said}");
        said
    };
    let said = bake(&["node", "--endpoint", "http://127.0.0.1:4566"]);
    assert!(
        said.contains("at http://127.0.0.1:4566: build") && said.contains(" region=us-east-2 "),
        "{said}"
    );
    let said = bake(&["base", "--region", "eu-central-1"]);
    assert!(said.contains("at : build") && said.contains(" region=eu-central-1 "), "{said}");
    // Whoever says it to Packer itself knows why; a directory is in no region.
    let said = bake(&["base", "--var", "region=eu-north-1"]);
    assert!(said.contains(" region=eu-north-1 ") && !said.contains("us-east-2"), "{said}");
    assert!(!bake(&["rootfs", "--rootfs", "/nowhere"]).contains("region="));
}

#[test]
fn a_bake_that_takes_too_long_is_ended_as_by_ctrl_c_unless_it_was_through() {
    const MADE: &str =
        r#"{"builds":[{"artifact_id":"eu-west-1:ami-1","packer_run_uuid":"a"}],"last_run_uuid":"a"}"#;
    let account = Account::new();
    let place = tempfile::tempdir().expect("a directory");
    let (packer, manifest) = (place.path().join("packer"), place.path().join("image.json"));
    // As with Packer, who is started does nothing itself, and passes nothing on to who does it.
    script(&packer, "trap : INT\n\"$0.child\" \"$@\"\nexit $?");
    let bake = |at_the_end: &str, patience: &str| {
        let to = "for word; do case $word in manifest=*) to=${word#manifest=} ;; esac; done";
        let works = format!("{to}\ntrap '{at_the_end}' INT\necho begun\nwhile :; do sleep 0.05; done");
        script(&place.path().join("packer.child"), &works);
        let mut bake = in_account(&account);
        bake.args(["bake", "--build", "rehearsal", "--commit", "0123abc", "--timeout", patience]);
        bake.arg("--packer").arg(&packer).arg("--manifest").arg(&manifest).current_dir(TREE);
        bake
    };
    // Time enough for it to begin.
    let (code, _, said) = ended(&mut bake("echo removed; exit 1", "5s"));
    assert_eq!(code, 75, "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..3],
        ["begun", "ending the bake: Packer removes what it has made", "removed"],
        "{said}"
    );
    assert!(!manifest.exists(), "{said}");
    let written = place.path().join("made");
    fs::write(&written, MADE).expect("written");
    let through = bake(&format!("cp {} \"$to\"; exit 0", written.display()), "5m");
    let (code, said) = cut_short(through, "begun", || ());
    assert_eq!(code, Some(0), "{said}");
    let told: Value =
        serde_json::from_str(&fs::read_to_string(&manifest).expect("a manifest")).expect("JSON");
    assert_eq!(told["ami"], json!("ami-1"), "{said}");
}

/// Of three versions one is the default, one is a fleet's, and the one between was rolled out once.
#[test]
fn the_janitor_keeps_the_images_of_the_versions_that_somebody_may_launch() {
    let account = Account::new();
    let image =
        |name: &str| account.image(name, 60, &[("muster:image", "node"), ("muster:commit", "0123abc")]);
    let [default, once, launched] = ["node-1", "node-2", "node-3"].map(image);
    let data = |image: &str| json!({"ImageId": image, "InstanceType": "m5.large"}).to_string();
    let named = ["--launch-template-name", "web", "--launch-template-data"];
    for (command, image) in [
        ("create-launch-template", &default),
        ("create-launch-template-version", &once),
        ("create-launch-template-version", &launched),
    ] {
        account.ask(&[&["ec2", command], &named[..], &[&data(image)]].concat());
    }
    let janitor = |newest: &str| {
        let arguments = ["janitor", "--newest", "0", "--template-versions", newest, "--format", "json"];
        let (code, out, said) = run(&account, &arguments);
        assert_eq!(code, 0, "{said}");
        let told: Value = serde_json::from_str(&out).expect("JSON");
        let decided = told["plan"]["images"].as_array().expect("a list").iter();
        let standing = decided.map(|one| (one["verdict"]["why"][0]["standing"]["type"].clone(), one));
        standing
            .map(|(word, one)| if word.is_null() { one["verdict"]["type"].clone() } else { word })
            .collect()
    };
    let told: Vec<Value> = janitor("1");
    assert_eq!(told, ["unknown", "unknown", "unknown"], "no fleet names the template");
    let launches =
        json!([{"LaunchTemplateSpecification": {"LaunchTemplateName": "web", "Version": "$Latest"}}]);
    let capacity = json!({"TotalTargetCapacity": 0, "DefaultTargetCapacityType": "spot"}).to_string();
    let fleet = ["ec2", "create-fleet", "--type", "maintain", "--target-capacity-specification", &capacity];
    account.ask(&[&fleet[..], &["--launch-template-configs", &launches.to_string()]].concat());
    let told: Vec<Value> = janitor("1");
    assert_eq!(told, ["default", "deprecate", "launched"]);
    let told: Vec<Value> = janitor("2");
    assert_eq!(told, ["default", "newest", "launched"]);
}

#[test]
fn completions_and_manual_pages_are_made_from_the_command_line() {
    let place = tempfile::tempdir().expect("a directory");
    let (code, out, _) = ended(image().args(["completions", "bash"]));
    assert!(code == 0 && out.contains("janitor"));
    let (code, _, _) = ended(image().arg("man").arg(place.path()));
    assert!(code == 0 && place.path().join("muster-image-promote.1").is_file());
    assert_eq!(ended(&mut image()).0, 64, "no command is a wrong command");
}
