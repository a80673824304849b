//! The image: its playbook, baked without AWS into a root file system, booted by a real systemd; and Packer's templates, by a real
//! Packer.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tests::awx;
use tests::image::{Packer, TREE, baked, changed, package, programs, site, variables, with_ansible};
use tests::machine::{Machine, Overlay, succeed};
use tests::mirror::Mirror;
use tests::tools;

/// The goal for a node with Nomad, Consul and Docker.
const MOST_BYTES: u64 = 1_000_000_000;

#[test]
fn the_playbooks_please_their_linters() {
    let linted =
        with_ansible("ansible-lint").args(["--offline", "--nocolor", "--strict"]).output().expect("it runs");
    let said =
        String::from_utf8_lossy(&linted.stdout).into_owned() + &String::from_utf8_lossy(&linted.stderr);
    assert!(linted.status.success(), "{said}");
    assert!(said.contains("profile 'production'") || said.contains("Profile 'production'"), "{said}");
    succeed(with_ansible("yamllint").args(["--strict", "--config-file", ".yamllint", "."]));
}

#[test]
fn awxs_objects_are_as_its_collection_takes_them() {
    let mut command =
        with_ansible(tools::ansible().unwrap_or_else(|missing| panic!("{missing}")).join("python"));
    succeed(
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/awx_objects.py")).arg("awx/objects.yml"),
    );
}

/// A value of the recap of a playbook's run, such as `changed`.
fn recap(said: &str, what: &str) -> u64 {
    let line = said.lines().rev().find(|line| line.contains(" ok=") && line.contains(" unreachable="));
    let line = line.unwrap_or_else(|| panic!("no recap:\n{said}"));
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(what)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {what}: {line}"))
}

/// Builds one of the builds. * returns: what it said, and its manifest.
fn build(packer: &Packer, only: &str, variables: &[(&str, String)]) -> (String, Value) {
    let manifest = packer.place.path().join("manifest.json");
    let mut command = packer.command("build");
    command.args([
        "-color=false",
        &format!("-only={only}.*"),
        "-var",
        "commit=0123abc",
        "-var",
        "playbook=test",
    ]);
    command.arg("-var").arg(format!("manifest={}", manifest.display()));
    for (name, value) in variables {
        command.arg("-var").arg(format!("{name}={value}"));
        if *name == "endpoint" {
            command.env("AWS_ENDPOINT_URL_EC2", value);
        }
    }
    let said = succeed(command.arg("image/packer"));
    (said, serde_json::from_str(&fs::read_to_string(manifest).expect("a manifest")).expect("JSON"))
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are for `tests/bench image`")]
fn a_second_bake_changes_nothing_and_the_image_is_small_and_sealed() {
    let (root, manifest) = baked();
    assert!(manifest["size_bytes"].as_u64().expect("a size") <= MOST_BYTES, "{}", manifest["size_bytes"]);
    assert_eq!(manifest["programs"]["nomad"]["sha256"].as_str().map(str::len), Some(64), "{manifest}");

    let overlay = Overlay::new(&root);
    let arguments =
        ["--programs", &programs().display().to_string(), "--package", &package().display().to_string()]
            .map(str::to_owned);
    let arguments: Vec<String> =
        arguments.into_iter().chain(["--extra-vars".to_owned(), variables(&root)]).collect();
    // By Packer, whose source without a machine it is.
    let words = [
        ("rootfs", overlay.root().display().to_string()),
        ("rootfs_arguments", json!(arguments).to_string()),
    ];
    let (said, made) = build(&Packer::new(), "rootfs", &words);
    assert_eq!(
        (changed(&said), recap(&said, "changed"), recap(&said, "failed")),
        (Vec::new(), 0, 0),
        "{said}"
    );
    assert_eq!(made["builds"][0]["custom_data"]["rootfs"], words[0].1, "{made}");

    // What must not be cloned is found, and goes.
    let secrets = [
        "etc/ssh/ssh_host_ed25519_key",
        "root/.docker/config.json",
        "root/.aws/credentials",
        "root/.bash_history",
        "var/lib/muster/i-0123456789abcdef0/awx.json",
        "var/lib/nomad/client/client-id",
        "var/lib/consul/node-id",
        "var/lib/systemd/random-seed",
    ];
    for secret in secrets {
        overlay.write(secret, 0o600, "planted-secret-5a1b");
    }
    overlay.write("etc/machine-id", 0o444, "0123456789abcdef0123456789abcdef\n");
    let found = overlay.chroot(&["muster-bootstrap", "verify-image"]);
    let told = String::from_utf8_lossy(&found.stderr).into_owned();
    assert_eq!(found.status.code(), Some(1), "{told}");
    for secret in &secrets[..5] {
        let top = secret.rsplit_once('/').map_or(*secret, |(above, _)| above);
        assert!(told.contains(secret) || told.contains(top), "{secret}: {told}");
    }
    let mut seal = with_ansible(format!("{TREE}/image/bake-rootfs"));
    seal.args(["--playbook", "seal", "--extra-vars", &variables(&root), "--manifest"]);
    succeed(seal.arg(overlay.root().join("../manifest.json")).arg(overlay.root()));
    let proved = overlay.chroot(&["muster-bootstrap", "verify-image"]);
    let left = secrets.iter().filter(|secret| overlay.root().join(secret).exists()).count();
    let figures =
        json!({ "size_bytes": manifest["size_bytes"], "changed": recap(&said, "changed"), "left": left });
    println!("an image: {figures}");
    assert_eq!((proved.status.code(), left), (Some(0), 0), "{proved:?}");
    assert_eq!(fs::read_to_string(overlay.root().join("etc/machine-id")).expect("it stays"), "");
}

/// What the drift of a node is, of which AWX's playbook must find each, and nothing else.
const DRIFT: [(&str, &str); 3] = [
    (
        "docker : Install the helper that gives the registry's credentials",
        "rm /usr/local/bin/docker-credential-muster",
    ),
    ("base : Copy it from the local directory", "echo >>/usr/local/bin/nomad"),
    (
        "hardening : Take keys and certificates alone by SSH",
        "echo PermitRootLogin yes >/etc/ssh/sshd_config.d/10-muster.conf",
    ),
];

#[test]
#[expect(clippy::print_stdout, reason = "the figures are for `tests/bench image`")]
fn an_image_boots_without_a_failed_unit_and_its_drift_is_found_and_mended() {
    let (root, _) = baked();
    let overlay = Overlay::new(&root);
    let keys = tempfile::tempdir().expect("a directory");
    let key = keys.path().join("key");
    succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    let added = overlay.chroot(&awx::ADD_USER);
    assert!(added.status.success(), "{added:?}");
    let public = fs::read_to_string(keys.path().join("key.pub")).expect("a key");
    for (path, mode, text) in awx::access(&public) {
        overlay.write(path.trim_start_matches('/'), mode, &text);
    }
    // The agent boots no instance here; its tests are its own.
    overlay.write(
        "etc/systemd/system/muster-bootstrap.service.d/test.conf",
        0o644,
        "[Unit]\nConditionPathExists=/nowhere\n",
    );

    let machine = Machine::boot(overlay);
    machine.wait_run(&["systemctl", "is-system-running", "--wait"]);
    let failed = machine.run(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"]);
    println!("a machine: {}", json!({ "failed": failed.lines().count() }));
    assert_eq!(failed, "");
    for unit in ["docker.service", "ssh.service", "systemd-resolved.service", "muster-host.path"] {
        assert_eq!(machine.run(&["systemctl", "is-active", unit]), "active", "{unit}");
    }
    // What the agent starts waits for the agent.
    for unit in ["consul.service", "nomad.service", "prometheus-node-exporter.service"] {
        assert!(
            !machine.try_run(&["systemctl", "is-active", unit]).expect("it runs").status.success(),
            "{unit}"
        );
    }
    let listeners = machine.run(&["ss", "--no-header", "--listening", "--tcp", "--numeric"]);
    let open: Vec<&str> = listeners.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
    let open: Vec<&str> =
        open.into_iter().filter(|at| !at.starts_with("127.") && !at.starts_with("169.254.")).collect();
    assert_eq!(open, ["0.0.0.0:22", "[::]:22"], "{listeners}");

    // What a unit of the early boot does once more where it failed, with whatever is started next.
    machine.run(&["systemd-tmpfiles", "--create", "--boot", "--prefix=/run/nologin"]);
    machine.run(&["test", "!", "-e", "/run/nologin"]);

    has_what_the_site_says(&machine, &root);
    names_are_answered(&machine);
    mended(&machine, &root, &key);
    fetched(&machine, &root, &key);
}

/// What a site may add to its image: templates that the agent renders, where to, and the registry that Docker has a helper for.
fn has_what_the_site_says(machine: &Machine, root: &Path) {
    const READ_AS_AGENT: [&str; 6] = ["runuser", "--user", "muster", "--", "base64", "--wrap=0"];
    let said = fs::read_to_string(site(root)).expect("the image's variables");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let templates = said["muster_templates"].as_object().expect("templates");
    assert!(!templates.is_empty(), "{said}");
    for (name, text) in templates {
        let path = format!("/etc/muster/templates/{name}");
        assert_eq!(machine.run(&["stat", "--format", "%U:%G %a", &path]), "root:root 644", "{path}");
        // As the site wrote it: what is in braces is Vault's to say.
        assert_eq!(machine.run(&[&READ_AS_AGENT[..], &[&path]].concat()), text.as_str().expect("text"));
        let renders = format!(
            "vault {{\n  address = \"https://vault.test\"\n  jwt {{\n    role = \"node\"\n    file = \"/run/jwt\"\n  }}\n  \
             template \"{name}\" {{\n    source = \"{path}\"\n    file = \"site\"\n    on_disk = true\n  }}\n}}\n"
        );
        machine.run(&["sh", "-c", "printf %s \"$0\" >/run/renders.hcl", &renders]);
        let check =
            "muster-bootstrap check /etc/muster/bootstrap.hcl /etc/muster/conf.d/*.hcl /run/renders.hcl";
        assert_eq!(machine.run(&["sh", "-c", check]), "nothing is wrong");
    }
    let helped: Value =
        serde_json::from_str(&machine.run(&["cat", "/etc/docker/client/config.json"])).expect("JSON");
    let registry = said["image_registry"].as_str().expect("text");
    assert_eq!(helped, json!({"credHelpers": {registry: "muster"}}));
}

/// Consul's names, on the machine and in a container of it.
fn names_are_answered(machine: &Machine) {
    machine.run(&[
        "systemd-run",
        "--quiet",
        "--unit=test-consul",
        "consul",
        "agent",
        "-dev",
        "-log-level=error",
    ]);
    let asked = ["getent", "hosts", "consul.service.consul"];
    assert!(machine.wait_run(&asked).starts_with("127.0.0.1"));
    let image = "mkdir /run/probe && cp --parents --dereference /usr/bin/getent $(ldd /usr/bin/getent | grep -o '/[^ ]*') /run/probe && \
                 tar --directory=/run/probe --create . | docker import - probe:1";
    machine.run(&["sh", "-c", image]);
    for network in ["bridge", "host"] {
        let mut words = vec!["docker", "run", "--rm", "--network", network, "probe:1"];
        words.extend(asked);
        assert!(machine.wait_run(&words).starts_with("127.0.0.1"), "{network}");
    }
    machine.run(&["systemctl", "stop", "test-consul.service"]);
}

/// Drift is planted; the playbook that AWX runs finds it, over SSH, and tells the agent that it is done.
fn mended(machine: &Machine, root: &Path, key: &Path) {
    for (_, plant) in DRIFT {
        machine.run(&["sh", "-c", plant]);
    }
    let instance = "i-0123456789abcdef0";
    let status = json!({"who": {"instance": instance}});
    // It had a job before: one that is new has not drifted.
    let place = format!(
        "mkdir -p /run/muster/metrics /var/lib/muster/awx && echo '{status}' >/run/muster/status.json && \
         echo '{{}}' >/var/lib/muster/awx/16.json"
    );
    machine.run(&["sh", "-c", &place]);
    let asked = json!({
        "instance_id": instance, "awx_job_id": 17, "monitoring_labels": {"team": "web"},
    });
    let known = [variables(root), awx::local_programs().to_string(), asked.to_string()];
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let said = succeed(&mut awx::drift(machine.address().into(), key, &known));
    // The playbook's own words beside them: what this node is, and the place of its last file.
    let found = changed(&said);
    let found: Vec<&str> = found
        .iter()
        .map(String::as_str)
        .filter(|task| DRIFT.iter().any(|(drift, _)| drift == task))
        .collect();
    assert_eq!(found, DRIFT.map(|(task, _)| task), "{said}");
    let report = machine.run(&["cat", "/run/muster/metrics/muster_drift.prom"]);
    assert!(report.contains("muster_node_drift_failed 0"), "{report}\n{said}");
    assert!(report.contains(&format!("muster_node_drift_mended {}", DRIFT.len())), "{report}\n{said}");
    let node = machine.run(&["cat", "/run/muster/metrics/muster_node.prom"]);
    assert!(node.ends_with("muster_node_info{team=\"web\"} 1"), "{node}");
    assert_eq!(
        machine.run(&["sshd", "-T"]).lines().find(|line| line.starts_with("permitrootlogin")),
        Some("permitrootlogin no")
    );
    let completion = machine.run(&["cat", "/var/lib/muster/awx/17.json"]);
    let completion: Value = serde_json::from_str(&completion).expect("JSON");
    assert_eq!(completion, json!({"job": 17, "instance": instance, "status": "successful", "message": ""}));
}

/// Whether Packer takes the templates for each way to reach a machine, on each architecture.
#[test]
fn packer_takes_the_templates() {
    let packer = Packer::new();
    succeed(packer.command("fmt").args(["-check", "-diff", "image/packer"]));
    for architecture in ["amd64", "arm64"] {
        for interface in ["private_ip", "public_ip", "session_manager"] {
            let mut command = packer.command("validate");
            command.args([
                "-var",
                "commit=0123abc",
                "-var",
                "playbook=test",
                "-var",
                "instance_profile=bake",
            ]);
            command.arg("-var").arg(format!("architecture={architecture}"));
            succeed(command.arg("-var").arg(format!("ssh_interface={interface}")).arg("image/packer"));
        }
    }
    for (name, value, words) in [
        ("architecture", "x86_64", "amd64 or arm64"),
        ("commit", "none", "a hash of git's"),
        ("kms_key", "mine", "its id, its ARN, or an alias"),
        ("package_sha256", "abc", "64 digits"),
        ("playbook", "", "as image/playbook-version"),
        ("region", "Ireland", "such as eu-west-1"),
        ("ssh_interface", "telnet", "session_manager, private_ip or public_ip"),
    ] {
        let mut command = packer.command("validate");
        command.args(["-var", "commit=0123abc", "-var", "playbook=test"]);
        let refused = command.arg("-var").arg(format!("{name}={value}")).arg("image/packer").output();
        let refused = refused.expect("it runs");
        let said = String::from_utf8_lossy(&refused.stdout);
        assert!(!refused.status.success() && said.contains(words), "{name}: {refused:?}");
    }
}

/// A program that was changed is reported where nothing may be; where its release is not what is pinned, the job fails and says so;
/// and else it comes back from a mirror of the vendor's releases.
fn fetched(machine: &Machine, root: &Path, key: &Path) {
    const SUM: [&str; 2] = ["sha256sum", "/usr/local/bin/nomad"];
    let good = machine.run(&SUM);
    machine.run(&["sh", "-c", "echo >>/usr/local/bin/nomad"]);
    let altered = machine.run(&SUM);
    let known = awx::local_programs();
    let version = known["nomad_version"].as_str().expect("a version");
    let mirror = Mirror::of(&[(&programs().join("nomad"), version)], machine.gateway().into());
    let sha256 = mirror.sha256("nomad", version);
    let play = |job: u32, sha256: &str, more: &[&str]| {
        let asked = json!({
            "instance_id": "i-0123456789abcdef0", "awx_job_id": job, "image_source": "release",
            "image_release_url": mirror.url(), "nomad_sha256": {"amd64": sha256},
        });
        let all = [variables(root), known.to_string(), asked.to_string()];
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let output =
            awx::drift(machine.address().into(), key, &all).args(more).output().expect("Ansible runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let completion = |job: u32| -> Value {
        let text = machine.run(&["cat", &format!("/var/lib/muster/awx/{job}.json")]);
        serde_json::from_str(&text).expect("JSON")
    };
    let fetch = "base : Fetch its archive";

    let (went_well, said) = play(18, &sha256, &["--check"]);
    assert!(went_well && changed(&said).iter().any(|task| task == fetch), "{said}");
    assert_eq!(machine.run(&SUM), altered, "nothing may be changed");
    let there = ["test", "-e", "/var/lib/muster/awx/18.json"];
    assert!(!machine.try_run(&there).expect("it runs").status.success(), "no agent waits for a report");

    let (went_well, said) = play(19, &"0".repeat(64), &[]);
    assert!(!went_well, "{said}");
    let told = completion(19);
    assert_eq!(told["status"], "failed", "{told}");
    assert!(told["message"].as_str().is_some_and(|why| why.starts_with("Fetch its archive: ")), "{told}");
    let report = machine.run(&["cat", "/run/muster/metrics/muster_drift.prom"]);
    assert!(report.contains("muster_node_drift_failed 1"), "{report}");
    assert_eq!(machine.run(&SUM), altered, "nothing that is not what was pinned");

    let (went_well, said) = play(20, &sha256, &[]);
    assert!(went_well, "{said}");
    assert_eq!(completion(20)["status"], "successful");
    assert_eq!(machine.run(&SUM), good);
}

/// moto with what it lacks for images, and a record of what it was asked. Gone when dropped.
struct Cloud {
    process: Child,
    url: String,
    place: TempDir,
}

impl Cloud {
    fn start() -> Self {
        let bin = tools::aws_clients().unwrap_or_else(|missing| panic!("{missing}"));
        let place = tempfile::tempdir().expect("a directory");
        let mut process = Command::new(bin.join("python"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/moto_images.py"))
            .arg("0")
            .arg(place.path().join("asked"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let url = loop {
            let line = lines.next().expect("moto says where it listens").expect("readable text");
            if let Some((_, url)) = line.split_once("Running on ") {
                break url.trim().to_owned();
            }
        };
        // Read on, so that the server never waits for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url, place }
    }

    /// What it was asked of one action, in order.
    fn asked(&self, action: &str) -> Vec<BTreeMap<String, String>> {
        let asked = self.all_asked().into_iter();
        asked.filter(|asked| asked.get("Action").is_some_and(|is| is == action)).collect()
    }

    /// Everything that it was asked, in order.
    fn all_asked(&self) -> Vec<BTreeMap<String, String>> {
        let asked = fs::read_to_string(self.place.path().join("asked")).expect("a record");
        asked.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Some image of its catalogue.
    fn image(&self) -> String {
        let bin = tools::aws_clients().unwrap_or_else(|missing| panic!("{missing}"));
        let mut command = Command::new(bin.join("aws"));
        command.args(["--region", "eu-west-1", "--endpoint-url", &self.url, "ec2", "describe-images"]);
        command.args(["--query", "Images[0].ImageId", "--output", "text"]);
        command
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("NO_PROXY", "127.0.0.1");
        succeed(&mut command).trim().to_owned()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // Nothing is left to do where it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn packer_makes_an_image_on_spot_encrypted_for_imdsv2_alone_that_says_where_it_came_from() {
    let cloud = Cloud::start();
    let base = cloud.image();
    let variables =
        [("endpoint", cloud.url.clone()), ("communicator", "none".to_owned()), ("source_ami", base.clone())];
    let (said, made) = build(&Packer::new(), "rehearsal", &variables);
    let image = made["builds"][0]["artifact_id"].as_str().and_then(|id| id.strip_prefix("eu-west-1:ami-"));
    assert!(image.is_some(), "{made}\n{said}");
    assert_eq!(made["builds"][0]["custom_data"]["commit"], "0123abc");

    let [template] = &cloud.asked("CreateLaunchTemplate")[..] else { panic!("one template\n{said}") };
    let is = |name: &str| template.get(&format!("LaunchTemplateData.{name}")).map(String::as_str);
    assert_eq!(is("InstanceMarketOptions.MarketType"), Some("spot"));
    assert_eq!(is("MetadataOptions.HttpTokens"), Some("required"));
    assert_eq!(is("UserData"), Some("IyEvYmluL3NoCnNodXRkb3duIC1QICsxODAK"), "it ends itself");
    assert_eq!(is("MetadataOptions.HttpPutResponseHopLimit"), Some("1"));
    assert_eq!(is("BlockDeviceMapping.1.Ebs.Encrypted"), Some("true"));
    let [fleet] = &cloud.asked("CreateFleet")[..] else { panic!("one fleet\n{said}") };
    let types =
        fleet.keys().filter(|name| name.contains(".Overrides.") && name.ends_with(".InstanceType")).count();
    assert!(types >= 4, "{fleet:?}");
    let [rule] = &cloud.asked("AuthorizeSecurityGroupIngress")[..] else { panic!("one rule\n{said}") };
    assert!(!rule.values().any(|value| value == "0.0.0.0/0" || value == "::/0"), "{rule:?}");
    let attributes = cloud.asked("ModifyImageAttribute");
    let support: Vec<&String> =
        attributes.iter().filter_map(|asked| asked.get("ImdsSupport.Value")).collect();
    assert_eq!(support, ["v2.0"]);
    assert_eq!(cloud.asked("EnableImageDeprecation").len(), 1);

    let tags: BTreeMap<String, String> = cloud.asked("CreateTags").iter().flat_map(tags).collect();
    for (tag, value) in [
        ("muster:commit", "0123abc"),
        ("muster:playbook", "test"),
        ("muster:architecture", "amd64"),
        ("muster:base", &base),
    ] {
        assert_eq!(tags.get(tag).map(String::as_str), Some(value), "{tags:?}");
    }
    assert!(tags.contains_key("muster:built") && tags.contains_key("muster:base-name"), "{tags:?}");
    // Nothing of the bake is left.
    for (made, gone) in [
        ("CreateKeyPair", "DeleteKeyPair"),
        ("CreateSecurityGroup", "DeleteSecurityGroup"),
        ("CreateLaunchTemplate", "DeleteLaunchTemplate"),
        ("CreateFleet", "TerminateInstances"),
    ] {
        assert_eq!((cloud.asked(made).len(), cloud.asked(gone).len()), (1, 1), "{made} {gone}");
    }
    what_is_removed_by_its_tag_is_made_with_it(&cloud);
    packers_role_has_what_packer_called(&cloud);
}

/// The role of who bakes opens, ends and removes things by the tags that they are made with.
fn what_is_removed_by_its_tag_is_made_with_it(cloud: &Cloud) {
    for (made, of, key, value) in [
        ("CreateKeyPair", "TagSpecification.", "Name", "muster-bake"),
        ("CreateSecurityGroup", "TagSpecification.", "Name", "muster-bake"),
        ("CreateLaunchTemplate", "TagSpecification.", "Name", "muster-bake"),
        ("CreateLaunchTemplate", "LaunchTemplateData.TagSpecification.1.", "Name", "muster-bake"),
        ("CreateLaunchTemplate", "LaunchTemplateData.TagSpecification.3.", "Name", "muster-bake"),
        ("CreateImage", "TagSpecification.1.", "muster:playbook", "test"),
        ("CreateImage", "TagSpecification.2.", "muster:playbook", "test"),
    ] {
        let [asked] = &cloud.asked(made)[..] else { panic!("{made} once") };
        let is_key = |(name, is): &(&String, &String)| {
            name.starts_with(of) && name.ends_with(".Key") && is.as_str() == key
        };
        let tagged =
            asked.iter().find(is_key).and_then(|(name, _)| asked.get(&name.replace(".Key", ".Value")));
        assert_eq!(tagged.map(String::as_str), Some(value), "{made} {of}: {asked:?}");
    }
}

/// Terraform's role for who bakes images has what Packer called, and nothing more but what only other bakes need.
fn packers_role_has_what_packer_called(cloud: &Cloud) {
    const OF_OTHER_BAKES: [(&str, &str); 7] = [
        ("ec2:DeleteSnapshot", "one that failed after its image was made"),
        ("ec2:DeregisterImage", "one that failed after its image was made"),
        ("ec2:DescribeSubnets", "where a filter says in which subnets"),
        ("ec2:DescribeTags", "muster-image asks for it, after one that did not end well"),
        ("ec2:RunInstances", "EC2 asks for it where a fleet launches"),
        ("iam:GetInstanceProfile", "of a machine with an instance profile"),
        ("iam:PassRole", "of a machine with an instance profile"),
    ];
    let actions = fs::read_to_string(format!("{TREE}/fleet/terraform/modules/iam/actions.json"));
    let actions: Value = serde_json::from_str(&actions.expect("a file")).expect("JSON");
    let granted = actions["image_builder"].as_array().expect("a list").iter();
    let granted: BTreeSet<String> =
        granted.map(|one| one["action"].as_str().expect("an action").to_owned()).collect();
    let called: BTreeSet<String> =
        cloud.all_asked().iter().filter_map(|asked| Some(format!("ec2:{}", asked.get("Action")?))).collect();
    let refused: Vec<_> = called.difference(&granted).collect();
    assert!(refused.is_empty(), "called, and not granted: {refused:?}");
    let uncalled: Vec<_> = granted.difference(&called).map(String::as_str).collect();
    assert_eq!(uncalled, OF_OTHER_BAKES.map(|(action, _)| action), "granted, and nothing called it");
}

/// The tags of a request of EC2's Query protocol.
fn tags(asked: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let keys = asked.iter().filter(|(name, _)| name.starts_with("Tag.") && name.ends_with(".Key"));
    let pair = |(name, key): (&String, &String)| {
        let value = asked.get(&name.replace(".Key", ".Value"))?;
        Some((key.clone(), value.clone()))
    };
    keys.filter_map(pair).collect()
}

/// The wheels that a machine is baked with are those of its architecture, and whole.
#[test]
fn ansible_is_had_for_a_machine_of_either_architecture() {
    let pinned = fs::read_to_string(format!("{TREE}/image/ansible/requirements.txt")).expect("a file");
    let pinned = pinned.lines().filter(|line| !line.starts_with(['#', ' '])).count();
    let versions =
        fs::read_to_string(format!("{TREE}/image/ansible/group_vars/all/versions.yml")).expect("a file");
    let ansible =
        versions.lines().find_map(|line| line.trim().strip_prefix("ansible_core: ")).expect("a version");
    for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let place = tempfile::tempdir().expect("a directory");
        let wheels = place.path().join("wheels");
        succeed(with_ansible(format!("{TREE}/image/packer/wheels")).arg(architecture).arg(&wheels));
        let names: Vec<String> = fs::read_dir(&wheels)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names.len(), pinned, "{names:?}");
        let wanted = format!("ansible_core-{}-", ansible.trim_matches('"'));
        assert!(names.iter().any(|name| name.starts_with(&wanted)), "{names:?}");
        let native = |name: &&String| name.ends_with("_x86_64.whl") || name.ends_with("_aarch64.whl");
        assert!(
            names.iter().filter(native).all(|name| name.ends_with(&format!("_{machine}.whl"))),
            "{names:?}"
        );
    }
}
