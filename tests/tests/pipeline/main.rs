//! The pipelines of image/jenkins: read by a grammar of Groovy, checked against what declarative pipelines may hold, and run, stage
//! by stage, by the very commands that stand in them.

mod terraform;

use fleet_cloud::ImageSpec;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use tests::account::Account;
use tests::image::{Packer, TREE, baked, programs};
use tests::machine::{Overlay, succeed};
use tests::programs::image;
use tests::tools;

/// A pipeline, as `tests/clients/jenkinsfile.py` reads it.
fn read(path: &Path) -> (Option<i32>, Value, String) {
    let python = tools::jenkins().unwrap_or_else(|missing| panic!("{missing}")).join("python");
    let mut command = Command::new(python);
    command.arg(format!("{TREE}/tests/clients/jenkinsfile.py")).arg(path);
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let told = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
    (status.code(), told, String::from_utf8_lossy(&stderr).into_owned())
}

fn pipeline(name: &str) -> Value {
    let (code, told, said) = read(&Path::new(TREE).join("image/jenkins").join(name));
    assert_eq!(code, Some(0), "{said}");
    told
}

/// The stages, in their order: name and command.
fn stages(pipeline: &Value) -> Vec<(String, String)> {
    let stages = pipeline["stages"].as_array().expect("stages").iter();
    let one = |stage: &Value| {
        let name = stage["name"].as_str().expect("a name").to_owned();
        let commands = stage["sh"].as_array().expect("commands");
        let [Value::String(command)] = &commands[..] else { panic!("{name} is one command: {commands:?}") };
        (name, command.clone())
    };
    stages.map(one).collect()
}

/// The variables that a command has the shell fill in.
fn variables(command: &str) -> BTreeSet<&str> {
    let after = command.split('$').skip(1);
    let name = |rest: &str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    after.map(|rest| &rest[..name(rest)]).filter(|name| !name.is_empty()).collect()
}

#[test]
fn pipelines_are_declarative_bounded_in_time_and_alone() {
    for name in ["Jenkinsfile", "terraform.Jenkinsfile"] {
        let told = pipeline(name);
        let options: Vec<&str> =
            told["options"].as_array().expect("options").iter().filter_map(Value::as_str).collect();
        for option in ["disableConcurrentBuilds", "timeout"] {
            assert!(options.contains(&option), "{name} has no {option}");
        }
        let mut known: BTreeSet<String> =
            told["environment"].as_object().expect("a map").keys().cloned().collect();
        known.extend(
            told["parameters"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|one| one.as_str().expect("a name").to_owned()),
        );
        let posted = told["post"].as_object().expect("a map").values();
        let posted = posted.flat_map(|commands| commands.as_array().expect("a list").iter());
        let posted: Vec<String> = posted.map(|command| command.as_str().expect("text").to_owned()).collect();
        for command in stages(&told).into_iter().map(|(_, command)| command).chain(posted) {
            for variable in variables(&command) {
                assert!(known.contains(variable), "{name}: nobody says what ${variable} is: {command}");
            }
            let script = command.split_whitespace().next().expect("a word");
            if script.contains('/') {
                let mode = fs::metadata(Path::new(TREE).join(script)).expect(script).permissions().mode();
                assert!(mode & 0o111 == 0o111, "{script} cannot be run");
            }
        }
        for stage in told["stages"].as_array().expect("stages") {
            assert_eq!(stage["timeout"], json!(true), "{name}: {stage} has no end");
        }
        // Each may take the time it has, and the pipeline does not end it before.
        let minutes = |of: &Value| of["minutes"].as_u64().expect("minutes");
        let sum: u64 = told["stages"].as_array().expect("stages").iter().map(minutes).sum();
        assert!(sum <= minutes(&told), "{name}: its stages have {sum} minutes");
        // Keys are nobody's: the roles' alone.
        let environment = told["environment"].to_string();
        assert!(environment.contains("AWS_PROFILE") && !environment.contains("SECRET"), "{environment}");
    }
    let terraform = pipeline("terraform.Jenkinsfile");
    // What Terraform keeps nowhere, each run is given, from where Jenkins keeps secrets.
    assert_eq!(terraform["environment"]["TF_VAR_awx_key"], "credentials('muster-awx-key')");
    let apply = terraform["stages"].as_array().expect("stages").last().expect("one");
    assert_eq!([&apply["when"], &apply["input"], &apply["lock"]], [&json!(true); 3], "{apply}");
    assert!(pipeline("Jenkinsfile")["post"]["unsuccessful"].is_array(), "what failed is taken back");
}

/// The reader finds what a pipeline must not be: each of these is refused, by its line.
#[test]
fn what_is_no_declarative_pipeline_is_refused() {
    let place = tempfile::tempdir().expect("a directory");
    let good = "pipeline {\n agent any\n stages {\n stage('A') {\n steps { sh 'true' }\n }\n }\n}\n";
    let check = |text: &str| {
        let path = place.path().join("Jenkinsfile");
        fs::write(&path, text).expect("written");
        let (code, _, said) = read(&path);
        (code, said)
    };
    assert_eq!(check(good), (Some(0), String::new()));
    for (from, to, words) in [
        ("agent any\n", "", "a pipeline has agent"),
        ("sh 'true'", "shell 'true'", "is no step that is known"),
        ("sh 'true'", "sh \"rm $X\"", "use '...'"),
        ("sh 'true'", "sh '''a\nb'''", "one command in one line"),
        ("steps {", "stepz {", "has no place in the stage A"),
        ("steps { sh 'true' }", "", "has no steps"),
        ("stage('A')", "stage()", "a stage has a name"),
        ("agent any", "agent any\n options { timestampz() }", "is no option that is known"),
        ("agent any", "agent any\n post { sometimes { sh 'x' } }", "is no condition of post"),
        ("stages {", "stages {{", "line"),
        ("pipeline {", "node {", "is one block"),
        (
            "steps { sh 'true' }",
            "when { branch 'main' }\n input { message 'Go?' }\n steps { sh 'true' }",
            "beforeInput true",
        ),
        (
            "steps { sh 'true' }",
            "when { beforeOptions false\n branch 'main' }\n options { lock(resource: 'x') }\n steps { sh 'true' }",
            "beforeOptions true",
        ),
    ] {
        let (code, said) = check(&good.replacen(from, to, 1));
        assert!(code == Some(65) && said.contains(words), "{to}: {code:?} {said}");
    }
}

/// A workspace like a checkout's, whose `image` is a copy.
struct Workspace {
    place: TempDir,
    environment: BTreeMap<String, String>,
}

impl Workspace {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path().join("workspace");
        fs::create_dir(&root).expect("made");
        for entry in fs::read_dir(TREE).expect("the tree") {
            let entry = entry.expect("an entry");
            if entry.file_name() != "image" && entry.file_name() != "target" {
                symlink(entry.path(), root.join(entry.file_name())).expect("linked");
            }
        }
        succeed(Command::new("cp").arg("--archive").arg(format!("{TREE}/image")).arg(&root));
        let bin = place.path().join("bin");
        fs::create_dir(&bin).expect("made");
        let workspace = Self { place, environment: BTreeMap::new() };
        workspace.tool("muster-image", Path::new(image().get_program()));
        workspace
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("workspace")
    }

    /// Puts a program first on the path.
    fn tool(&self, name: &str, program: &Path) {
        symlink(program, self.place.path().join("bin").join(name)).expect("linked");
    }

    /// Puts a script first on the path.
    fn script(&self, name: &str, text: &str) {
        let path = self.place.path().join("bin").join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("set");
    }

    fn set(&mut self, name: &str, value: impl AsRef<Path>) {
        self.environment.insert(name.to_owned(), value.as_ref().display().to_string());
    }

    /// Runs a pipeline's command as Jenkins does. * returns: exit code, and all that was said.
    fn run(&self, command: &str) -> (Option<i32>, String) {
        let mut shell = Command::new("sh");
        shell.args(["-xec", command]).current_dir(self.root()).env_clear().envs(&self.environment);
        let Output { status, stdout, stderr } = shell.output().expect("a shell");
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        (status.code(), said)
    }

    fn json(&self, file: &str) -> Value {
        let text =
            fs::read_to_string(self.root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        serde_json::from_str(&text).expect("JSON")
    }
}

/// Stands for the autoscaler: begins a roll-out, is asked for it, and takes it back, as its own tests prove that it does. What it
/// is told is in `asked`.
const AUTOSCALER: &str = r#"#!/bin/sh
printf '%s\n' "$*" >>"$(dirname "$0")/asked"
case "$1 $2" in
"rollout status")
    image=$(sed -n 's/.*--image \([^ ]*\).*/\1/p' "$(dirname "$0")/asked" | tail -n 1)
    course=forward
    grep -q '^rollout abort' "$(dirname "$0")/asked" && course=back
    echo '[{"fleet": "canary", "rollout": {"image": "'"$image"'", "course": "'$course'", "stage": {"ended": {"at": 1}}, "halted": null}}]'
    ;;
"status canary") echo '{"name": "canary", "alarms": []}' ;;
esac
"#;

/// Stands for cargo where tests would run within a test; what makes the package asks the real one.
const CARGO: &str = r#"#!/bin/sh
case $1 in
build | test) printf '%s\n' "$*" >>"$(dirname "$0")/cargo-asked" ;;
*) exec "$REAL_CARGO" "$@" ;;
esac
"#;

/// What a stage of the image's pipeline has done.
fn did_its_part(name: &str, said: &str, workspace: &Workspace, account: &Account, old: &str) {
    let bin = workspace.place.path().join("bin");
    let seen = || fs::read_to_string(bin.join("asked")).unwrap_or_default();
    let made = || if workspace.root().join("image.json").exists() { "image.json" } else { "promoted.json" };
    let ami = || workspace.json(made())["ami"].as_str().expect("an image").to_owned();
    match name {
        "Begin" => assert!(!workspace.root().join("image.json").exists(), "it was of another run"),
        "Lint" => assert!(said.contains("production"), "{said}"),
        "Test" => {
            let asked = fs::read_to_string(bin.join("cargo-asked")).expect("cargo was asked");
            assert!(asked.contains("test --workspace --locked"), "{asked}");
        }
        "Package" => {
            let made = fs::metadata(&workspace.environment["PACKAGE"]).expect("a package");
            assert!(made.len() > 0);
        }
        "Bake a root file system" => {
            let made = workspace.json("rootfs.json");
            assert_eq!(made["programs"]["nomad"]["sha256"].as_str().map(str::len), Some(64), "{made}");
        }
        "Verify" => assert_eq!(workspace.json("report.json")["passed"], json!(true), "{said}"),
        "Bake" => assert!(ami().starts_with("ami-")),
        "Publish to canary" => {
            assert_eq!(account.channel("canary"), Some(ami()));
            assert_eq!(account.channel("stable").as_deref(), Some(old));
        }
        "Roll out to the canary fleet" => {
            let order = format!("rollout start canary --image {} --by pipeline --reason", ami());
            assert!(seen().contains(&order), "{}", seen());
        }
        "Watch" => assert!(seen().contains("rollout status canary --format json"), "{}", seen()),
        "Promote" => assert_eq!(account.channel("stable"), Some(ami())),
        "Janitor" => {
            let line = said.lines().find(|line| line.contains(&ami()) && line.contains("keep"));
            assert!(line.is_some_and(|line| line.contains("channel stable is at it")), "{said}");
        }
        other => panic!("nobody says what the stage {other} is to do"),
    }
}

/// A workspace in which the image's pipeline runs as it does on a laptop, with the loopback cloud for AWS.
fn ready(account: &Account, packer: &Packer, root: &Path, overlay: &Overlay) -> Workspace {
    let mut workspace = Workspace::new();
    workspace.tool("packer", &packer.program);
    workspace.script("muster-autoscaler", AUTOSCALER);
    workspace.script("cargo", CARGO);
    let bin = workspace.place.path().join("bin");
    let ansible = tools::ansible().unwrap_or_else(|missing| panic!("{missing}"));
    let built = PathBuf::from(image().get_program()).parent().expect("a folder").to_owned();
    for (name, value) in account.environment().into_iter().chain(packer.environment()) {
        workspace.set(name, value);
    }
    workspace.set("PATH", format!("{}:{}:{}", bin.display(), ansible.display(), tests::image::PATH));
    workspace.set("HOME", std::env::home_dir().expect("a home"));
    workspace.set("REAL_CARGO", env!("CARGO"));
    workspace.set("CARGO_TARGET_DIR", built.parent().expect("a build directory"));
    let profile = built.file_name().map(|name| name.to_string_lossy().replace("debug", "dev"));
    let words = format!("--no-build --fast --profile {}", profile.expect("a name"));
    workspace.set("PACKAGE_OPTIONS", words);
    workspace.set("PKR_VAR_endpoint", account.server.endpoint());
    workspace.set("MUSTER_IMAGE_PROGRAMS", programs());
    let deb = workspace.place.path().join("muster-bootstrap.deb");
    workspace.set("PACKAGE", deb);
    workspace.set("SITE", tests::image::site(root));
    workspace.set("ROOTFS", overlay.root());
    for (name, value) in [
        ("BUILD", "rehearsal"),
        ("ARCHITECTURE", "amd64"),
        ("CANARY", "canary"),
        ("STABLE", "stable"),
        ("FLEET", "canary"),
        ("SOAK", "0s"),
    ] {
        workspace.set(name, value);
    }
    workspace
}

/// What the pipeline does for arm64, as far as a machine of another architecture can: it bakes, and moves channels that no fleet of
/// amd64 launches from.
#[test]
fn an_image_for_arm64_is_baked_and_published_to_channels_of_its_own() {
    let told = pipeline("Jenkinsfile");
    let account = Account::fast();
    let base = |arm64: bool, name: &str| {
        let of = if arm64 { "arm64" } else { "amd64" };
        let tags = [("muster:image", "base"), ("muster:architecture", of)];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let spec = ImageSpec { name: name.to_owned(), arm64, tags, ..ImageSpec::default() };
        account.server.put_image(&spec).0
    };
    base(false, "base-amd64");
    let base = base(true, "base-arm64");
    let packer = Packer::new();
    let mut workspace = Workspace::new();
    workspace.tool("packer", &packer.program);
    let bin = workspace.place.path().join("bin");
    for (name, value) in account.environment().into_iter().chain(packer.environment()) {
        workspace.set(name, value);
    }
    workspace.set("PATH", format!("{}:{}", bin.display(), tests::image::PATH));
    workspace.set("HOME", std::env::home_dir().expect("a home"));
    workspace.set("PKR_VAR_endpoint", account.server.endpoint());
    workspace.set("PACKAGE", workspace.root().join("muster-bootstrap.deb"));
    workspace.set("SITE", workspace.root().join("site.json"));
    for file in ["PACKAGE", "SITE"] {
        fs::write(&workspace.environment[file], "{}").expect("written");
    }
    for (name, value) in [("BUILD", "rehearsal"), ("ARCHITECTURE", "arm64"), ("SOAK", "0s")] {
        workspace.set(name, value);
    }
    let environment = told["environment"].as_object().expect("a map");
    for (name, value) in [("CANARY", "canary-arm64"), ("STABLE", "stable-arm64")] {
        let said = environment[name].as_str().expect("text");
        assert!(said.contains(&format!("'arm64' ? '{value}' : '{}'", name.to_lowercase())), "{said}");
        workspace.set(name, value);
    }
    let by_name: BTreeMap<String, String> = stages(&told).into_iter().collect();
    let of_this = succeed(Command::new("dpkg").arg("--print-architecture"));
    let (code, said) = workspace.run(&by_name["Begin"]);
    assert_eq!(code, Some(if of_this.trim() == "arm64" { 0 } else { 69 }), "{said}");
    let (code, said) = workspace.run(&by_name["Bake"]);
    assert_eq!(code, Some(0), "{said}");
    let made = workspace.json("image.json");
    assert_eq!(made["architecture"], "arm64", "{made}");
    let ami = made["ami"].as_str().expect("an image");
    let image = &account.ask(&["ec2", "describe-images", "--image-ids", ami])["Images"][0];
    assert_eq!(image["Architecture"], "arm64", "{image}");
    assert!(image["Tags"].as_array().expect("tags").contains(&json!({"Key": "muster:base", "Value": base})));

    // Nobody has booted what was made for another architecture.
    let publish = by_name["Publish to canary"].replace("--report report.json", "--unverified");
    for command in [&publish, &by_name["Promote"]] {
        let (code, said) = workspace.run(command);
        assert_eq!(code, Some(0), "{command}: {said}");
    }
    let at = |name: &str| account.channel(name);
    assert_eq!([at("canary-arm64"), at("stable-arm64")], [Some(ami.to_owned()), Some(ami.to_owned())]);
    assert_eq!([at("canary"), at("stable")], [None, None]);
    let (code, said) = workspace.run(&by_name["Janitor"]);
    let kept = "channel canary-arm64 is at it; channel stable-arm64 is at it";
    assert!(code == Some(0) && said.contains(kept), "{said}");
}

#[test]
fn each_stage_of_the_images_pipeline_does_its_part_from_lint_to_janitor() {
    let told = pipeline("Jenkinsfile");
    let account = Account::fast();
    account.image("muster-base", 2, &[("muster:image", "base"), ("muster:architecture", "amd64")]);
    let old = account.image("node-before", 3, &[("muster:image", "node")]);
    let packer = Packer::new();
    let (root, _) = baked();
    let overlay = Overlay::new(&root);
    let mut workspace = ready(&account, &packer, &root, &overlay);
    // What runs today.
    for channel in ["canary", "stable"] {
        let (code, said) =
            workspace.run(&format!("muster-image publish --unverified --image {old} --channel {channel}"));
        assert_eq!(code, Some(0), "{said}");
    }

    // What another run has left, whose image is in use.
    fs::write(workspace.root().join("image.json"), json!({ "ami": old }).to_string()).expect("written");

    let mut candidate = Value::Null;
    for (name, command) in stages(&told) {
        let (code, said) = workspace.run(&command);
        assert_eq!(code, Some(0), "{name}: {command}\n{said}");
        did_its_part(&name, &said, &workspace, &account, &old);
        if name == "Publish to canary" {
            candidate = workspace.json("image.json");
        }
    }

    another_image_is_not_promoted_by_this_run(&workspace, &account);
    // What fails once an image is promoted is no reason to take it back.
    let posted = |condition: &str| told["post"][condition][0].as_str().expect("a command").to_owned();
    let asked = || fs::read_to_string(workspace.place.path().join("bin/asked")).expect("it was asked");
    let is_taken_back = |to: &str| {
        let (code, said) = workspace.run(&posted("unsuccessful"));
        assert_eq!(code, Some(0), "{said}");
        for channel in ["canary", "stable"] {
            assert_eq!(account.channel(channel).as_deref(), Some(to), "{channel}: {said}");
        }
    };
    let image = candidate["ami"].as_str().expect("an image");
    is_taken_back(image);
    assert!(!asked().contains("rollout abort"), "{}", asked());
    // What fails before is, however often that is said: all is as it was.
    fs::write(workspace.root().join("image.json"), candidate.to_string()).expect("written");
    is_taken_back(&old);
    is_taken_back(&old);
    assert_eq!(asked().matches("rollout abort canary --by pipeline --reason").count(), 1, "{}", asked());
    the_roll_out_of_another_image_stays(&workspace, &posted("unsuccessful"));

    let left = workspace.place.path().join("left");
    fs::create_dir_all(left.join("etc")).expect("made");
    fs::write(left.with_extension("json"), "{}").expect("written");
    workspace.set("ROOTFS", &left);
    let (code, said) = workspace.run(&posted("cleanup"));
    assert!(code == Some(0) && !left.exists() && !left.with_extension("json").exists(), "{said}");
    let stays = |path: &Path| path.exists().then(|| path.to_owned());
    let root = workspace.root();
    let package = PathBuf::from(&workspace.environment["PACKAGE"]);
    let stay = [package, root.join(".packer-noted"), root.join("packer-manifest.json")];
    assert_eq!(stay.iter().find_map(|path| stays(path)), None, "{said}");
}

/// Whatever canary is at by then: a run makes its own image stable, or none.
fn another_image_is_not_promoted_by_this_run(workspace: &Workspace, account: &Account) {
    let stable = account.channel("stable");
    let other = workspace.root().join("other.json");
    fs::write(&other, json!({ "ami": "ami-0fedcba9876543210" }).to_string()).expect("written");
    let (code, said) = workspace.run("image/jenkins/promote other.json 0s");
    assert_eq!(code, Some(75), "{said}");
    assert!(account.channel("stable") == stable && other.exists(), "{said}");
}

/// A run that made an image, and began no roll-out, takes nobody else's back; and says so where it cannot know.
fn the_roll_out_of_another_image_stays(workspace: &Workspace, take_back: &str) {
    let asked = workspace.place.path().join("bin/asked");
    fs::write(&asked, "rollout start canary --image ami-0fedcba9876543210\n").expect("written");
    assert_eq!(workspace.run(take_back).0, Some(0));
    let seen = fs::read_to_string(&asked).expect("it was asked");
    assert!(!seen.contains("rollout abort"), "{seen}");
    workspace.script("muster-autoscaler", "#!/bin/sh\nexit 69\n");
    assert_eq!(workspace.run(take_back).0, Some(69), "nobody knows whether it is taken back");
}

/// A time that the pipeline does not have is told of before anything is made, and nothing of another run is taken for this one's.
#[test]
fn a_run_begins_with_an_empty_workspace_and_a_time_to_watch_that_it_has() {
    let told = pipeline("Jenkinsfile");
    let of = |name: &str| {
        let stages = told["stages"].as_array().expect("stages");
        stages.iter().find(|stage| stage["name"] == name).expect("a stage").clone()
    };
    let begin = of("Begin")["sh"][0].as_str().expect("a command").to_owned();
    let mut workspace = Workspace::new();
    workspace.set("PATH", tests::image::PATH);
    workspace.set("ARCHITECTURE", succeed(Command::new("dpkg").arg("--print-architecture")).trim());
    let left = [
        "rootfs.json",
        "report.json",
        "image.json",
        "promoted.json",
        "packer-manifest.json",
        ".packer-noted",
    ];
    for file in left {
        fs::write(workspace.root().join(file), "{}").expect("written");
    }
    for soak in ["25h", "2d", "1441m", "86401s", "1w", "h", ""] {
        workspace.set("SOAK", soak);
        let (code, said) = workspace.run(&begin);
        assert!(code == Some(64) && said.contains("1d at most"), "{soak}: {code:?} {said}");
    }
    for soak in ["0s", "08m", "24h", "1d"] {
        workspace.set("SOAK", soak);
        let (code, said) = workspace.run(&begin);
        assert_eq!(code, Some(0), "{soak}: {said}");
    }
    assert!(of("Watch")["minutes"].as_u64() > Some(24 * 60), "the longest that Begin takes fits");
    for file in left {
        assert!(!workspace.root().join(file).exists(), "{file} is another run's");
    }
}

/// A roll-out that does not end well ends the pipeline.
#[test]
fn a_roll_out_that_is_halted_or_taken_back_or_unseen_or_followed_by_an_alarm_fails_the_watch() {
    let mut workspace = Workspace::new();
    let bin = workspace.place.path().join("bin");
    workspace.set("PATH", format!("{}:{}", bin.display(), tests::image::PATH));
    for (name, value) in [("FLEET", "canary"), ("SOAK", "1s")] {
        workspace.set(name, value);
    }
    let told = pipeline("Jenkinsfile");
    let command = |of: &str| stages(&told).into_iter().find(|(name, _)| name == of).expect("a stage").1;
    // The stage that begins the roll-out waits until it is over; the one after it, as long as it is watched.
    let [roll_out, watch] = ["Roll out to the canary fleet", "Watch"].map(command);
    let image = json!({ "ami": "ami-0fedcba9876543210" }).to_string();
    fs::write(workspace.root().join("image.json"), image).expect("written");
    let ended = r#""stage": {"ended": {"at": 1}}"#;
    for (rollout, alarms, expected) in [
        (format!(r#"{{"course": "forward", {ended}, "halted": null}}"#), "[]", 0),
        (format!(r#"{{"course": "back", {ended}, "halted": null}}"#), "[]", 65),
        (r#"{"course": "forward", "stage": "canary", "halted": {"why": "not ready"}}"#.to_owned(), "[]", 65),
        (format!(r#"{{"course": "forward", {ended}, "halted": null}}"#), r#"[{"alarm": "no_data"}]"#, 65),
    ] {
        let script = format!(
            "#!/bin/sh\ncase $1 in\nrollout) echo '[{{\"fleet\": \"canary\", \"rollout\": {rollout}}}]' ;;\n\
             status) echo '{{\"alarms\": {alarms}}}' ;;\nesac\n"
        );
        workspace.script("muster-autoscaler", &script);
        for stage in [&roll_out, &watch] {
            let (code, said) = workspace.run(stage);
            assert_eq!(code, Some(expected), "{stage}: {rollout} {alarms}\n{said}");
        }
    }
    workspace.script("muster-autoscaler", "#!/bin/sh\necho '[]'\n");
    assert_eq!(workspace.run(&watch).0, Some(65), "no roll-out is none that ended well");
    workspace.script("muster-autoscaler", "#!/bin/sh\nexit 77\n");
    assert_eq!(workspace.run(&watch).0, Some(77));
    // Nobody looked: that is not well, however long it goes on.
    workspace.set("MUSTER_BLIND_SECONDS", "0.2");
    let ended = r#"[{"rollout": {"course": "forward", "stage": {"ended": {"at": 1}}, "halted": null}}]"#;
    let away = format!("#!/bin/sh\ncase $1 in\nrollout) echo '{ended}' ;;\nstatus) exit 69 ;;\nesac\n");
    workspace.script("muster-autoscaler", &away);
    assert_eq!(workspace.run(&watch).0, Some(69));
}
