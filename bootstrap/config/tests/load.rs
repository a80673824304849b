//! Layers, their order, where values come from, and what is wrong with them.

use bootstrap_config::{File, Layer, Loaded, Origin, Problems, Severity, load, tag_layer};
use bootstrap_core::{OnFailure, Step};
use proptest::prelude::*;
use std::fs;
use std::time::Duration;

const MINIMAL: &str = include_str!("../examples/minimal.hcl");

fn image(name: &str, text: &str) -> Layer {
    Layer::Image(File::new(name, text))
}
fn parameter(name: &str, text: &str) -> Layer {
    Layer::Parameter(File::new(format!("ssm:{name}"), text))
}
fn tag(key: &str, value: &str) -> Layer {
    tag_layer(key, value).expect("a tag of ours")
}
fn fine(layers: &[Layer]) -> Loaded {
    load(layers).unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}
fn wrong(layers: &[Layer]) -> Problems {
    load(layers).expect_err("something is wrong")
}
/// The first problem of this path.
fn about(problems: &Problems, path: &str) -> String {
    let found = problems.iter().find(|problem| problem.path == path);
    found.map_or_else(|| panic!("nothing about {path} in\n{problems}"), ToString::to_string)
}
fn origin(loaded: &Loaded, path: &str) -> (String, String) {
    let value = loaded.values.iter().find(|value| value.path == path).expect("a value");
    (value.value.clone(), value.origin.to_string())
}

#[test]
fn the_smallest_configuration_proves_who_the_instance_is_and_no_more() {
    let loaded = fine(&[image("bootstrap.hcl", MINIMAL)]);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let plans = loaded.settings.plans();
    let wanted: Vec<Step> = plans.iter().filter(|(_, plan)| plan.wanted).map(|(step, _)| *step).collect();
    assert_eq!(wanted, [Step::Identity, Step::Time, Step::Configuration, Step::Ready]);
}

#[test]
fn later_layers_stand_over_earlier_ones_and_each_value_knows_its_place() {
    let layers = [
        image("bootstrap.hcl", MINIMAL),
        image("conf.d/10.hcl", FULL_NOMAD),
        parameter("/muster/web/nomad", "nomad {\n  node_pool = \"web\"\n  drivers = [\"raw_exec\"]\n}\n"),
        tag("muster.nomad.node_pool", "canary"),
    ];
    let loaded = fine(&layers);
    let nomad = loaded.settings.nomad.as_ref().expect("wanted");
    assert_eq!((nomad.node_pool.as_str(), nomad.datacenter.as_str()), ("canary", "east"));
    assert_eq!(nomad.drivers, ["raw_exec"], "a list is said as a whole");
    assert_eq!(
        origin(&loaded, "nomad.node_pool"),
        ("\"canary\"".to_owned(), "tag:muster.nomad.node_pool".to_owned())
    );
    assert_eq!(origin(&loaded, "nomad.drivers").1, "ssm:/muster/web/nomad:3");
    assert_eq!(origin(&loaded, "nomad.datacenter").1, "conf.d/10.hcl:2");
    let verify = loaded.values.iter().find(|value| value.path == "watch.verify").expect("a value");
    assert_eq!((verify.value.as_str(), &verify.origin), ("\"5m\"", &Origin::Default));
}

const FULL_NOMAD: &str = "nomad {\n  datacenter = \"east\"\n  servers = [\"10.0.0.1:4647\"]\n  drivers = [\"exec\", \"docker\"]\n}\n\
host {\n  units = [\"nomad.service\"]\n  file \"nomad\" {\n    path = \"/etc/nomad.d/muster.json\"\n  }\n  \
directory \"nomad\" {\n    path = \"/var/lib/nomad\"\n  }\n}\n";

#[test]
fn a_step_block_replaces_the_one_before_it_as_a_whole() {
    let first = "step \"awx\" {\n  on_failure = \"ignore\"\n  deadline = \"3h\"\n}\n";
    let second = "step \"awx\" {\n  on_failure = \"retry\"\n}\n";
    let loaded = fine(&[image("bootstrap.hcl", MINIMAL), image("a.hcl", first), image("b.hcl", second)]);
    let step = loaded.settings.step(Step::Awx);
    assert_eq!((step.on_failure, step.deadline), (OnFailure::Retry, Duration::from_secs(7200)));
    assert_eq!(origin(&loaded, "step.awx.deadline").1, "default");
    assert_eq!(origin(&loaded, "step.awx.on_failure").1, "b.hcl:2");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let text = "awx {\n  template = 0\n  adress = \"https://awx\"\n}\nnomad {\n  unit = \"nomad\"\n}\n\
                step \"monitor\" {}\nwatch {\n  notices = \"10s\"\n}\n";
    let problems = wrong(&[image("bootstrap.hcl", text)]);
    let texts = problems.to_string();
    for expected in [
        "bootstrap.hcl:2:14: awx.template: 0 is too small; expected a whole number from 1 to 4294967295",
        "bootstrap.hcl:3:3: awx.adress: `adress` is not known here",
        "bootstrap.hcl:6:10: nomad.unit: \"nomad\" is not the name of a unit",
        "bootstrap.hcl:8:6: step.monitor: \"monitor\" is not a step",
        "bootstrap.hcl:10:13: watch.notices: \"10s\" is too large; expected a duration from \"200ms\" to \"5s\"",
        "identity.certificates: is missing; expected a list of PEM files",
        "awx.key_file: is missing; expected `key_file` or `key_parameter`",
        "nomad.servers: is missing; expected servers, or a `consul` block to find them through",
        "nomad.file: `nomad` is no `file` of `host`",
    ] {
        assert!(texts.contains(expected), "{expected}\nis not in\n{texts}");
    }
    assert!(problems.render(false).contains("did you mean `address`?"));
    assert!(!texts.contains("awx.address: is missing"), "what was likely meant is not missed, too");
}

#[test]
fn what_is_required_may_stand_in_any_layer() {
    let key = "awx {\n  template = 7\n  key_file = \"/run/key\"\n}\n";
    let problems = wrong(&[image("bootstrap.hcl", MINIMAL), image("a.hcl", key)]);
    assert!(about(&problems, "awx.address").starts_with("a.hcl:1:1: awx.address: is missing"));
    let address = "awx {\n  address = \"https://awx.example.com\"\n}\n";
    fine(&[image("bootstrap.hcl", MINIMAL), image("a.hcl", key), parameter("/a", address)]);
}

#[test]
fn parameters_and_tags_cannot_say_what_is_done_as_root_or_who_the_instance_is() {
    let files = [image("bootstrap.hcl", MINIMAL)];
    for text in [
        "host {\n  units = [\"ssh.service\"]\n}\n",
        "identity {\n  certificates = [\"/tmp/mine.pem\"]\n}\n",
        "time {\n  most_skew = \"5m\"\n}\n",
    ] {
        let problems = wrong(&[files[0].clone(), parameter("/muster/x", text)]);
        assert!(problems.to_string().contains("ssm:/muster/x:1:1: "), "{problems}");
        assert!(problems.to_string().contains("may be said by files of the image alone"), "{problems}");
    }
    for (key, value) in [
        ("muster.host.power_off", "true"),
        ("muster.awx.address", "https://evil.example.com"),
        ("muster.identity.certificates", "/tmp/x"),
        ("muster.nomad.node_pol", "x"),
    ] {
        let loaded = fine(&[files[0].clone(), tag(key, value)]);
        let warning = loaded.warnings.to_string();
        assert!(warning.contains(key) && warning.contains("expected one of parameters.path"), "{warning}");
        assert_eq!(loaded.settings, fine(&files).settings, "{key} changes nothing");
    }
}

#[test]
fn a_tags_value_stands_for_itself() {
    let base = [image("bootstrap.hcl", MINIMAL), image("n.hcl", FULL_NOMAD)];
    for value in ["a\"b", "${x}", "a\nb", "%{if}"] {
        let layers = [base[0].clone(), base[1].clone(), tag("muster.nomad.node_pool", value)];
        let problems = wrong(&layers);
        assert!(about(&problems, "nomad.node_pool").contains("is not such a name"), "{problems}");
    }
    assert_eq!(tag_layer("Name", "web-1"), None);
}

#[test]
fn rules_between_values_name_the_one_that_is_at_fault() {
    let cases = [
        (
            "awx {\n  address = \"https://a\"\n  template = 1\n  key_file = \"/k\"\n  key_parameter = \"/p\"\n}\n",
            "awx.key_parameter",
            "stands beside `key_file`; expected one place",
        ),
        (
            "step \"awx\" {\n  pause = \"5m\"\n}\n",
            "step.awx.pause",
            "longer than the longest pause; expected at most",
        ),
        (
            "step \"time\" {\n  attempt = \"6m\"\n}\n",
            "step.time.attempt",
            "longer than all attempts together",
        ),
        (
            "step \"awx\" {\n  on_failure = \"terminate\"\n}\n",
            "step.awx.on_failure",
            "needs `power_off = true` in `host`",
        ),
        (
            "watch {\n  autoscaler {\n    fleet = \"web\"\n  }\n}\n",
            "watch.autoscaler.addresses",
            "is missing",
        ),
        (
            "watch {\n  autoscaler {\n    fleet = \"web\"\n    service = \"x\"\n  }\n}\n",
            "watch.autoscaler.service",
            "needs Consul",
        ),
        ("time {\n  unit = \"chrony.service\"\n}\n", "time.unit", "is none of `host`'s units"),
        ("monitoring {\n  package = \"x\"\n}\n", "monitoring.package", "is no `package` of `host`"),
        (
            "nomad {\n  node_pool = \"muster-proving\"\n}\n",
            "nomad.proving_pool",
            "is the pool that it works in",
        ),
        (
            "host {\n  directory \"x\" {\n    path = \"/var\"\n  }\n}\n",
            "host.directory.x.path",
            "too near the root",
        ),
        ("host {\n  file \"x\" {\n    path = \"/a/../b\"\n  }\n}\n", "host.file.x.path", "leads up again"),
        (
            "host {\n  file \"x\" {\n    path = \"/a\"\n    mode = \"0666\"\n  }\n}\n",
            "host.file.x.mode",
            "everybody write",
        ),
        (
            "vault {\n  address = \"https://v\"\n}\n",
            "vault",
            "how the node logs in; expected a block `aws`, `approle` or `jwt`",
        ),
        (
            "vault {\n  address = \"https://v\"\n  jwt {\n    role = \"n\"\n    file = \"/f\"\n  }\n  aws {\n    role = \"n\"\n  }\n}\n",
            "vault",
            "in more than one way",
        ),
        (
            "vault {\n  address = \"https://v\"\n  aws {\n    role = \"n\"\n    mount = \"auth/aws\"\n  }\n}\n",
            "vault.aws.mount",
            "is not such a path",
        ),
        (
            "vault {\n  address = \"https://v\"\n  aws {\n    role = \"n\"\n  }\n  template \"x\" {\n    source = \"/s\"\n  }\n}\n",
            "vault.template.x.path",
            "is missing; expected `path` or `file`",
        ),
        ("consul {\n  extra = \"[]\"\n}\n", "consul.extra", "is not a JSON object"),
        ("monitoring {\n  arguments = [\"--a $x\"]\n}\n", "monitoring.arguments", "is not such an argument"),
        ("awx {\n  address = \"https://u:p@awx\"\n}\n", "awx.address", "is no address of a server"),
    ];
    for (text, path, expected) in cases {
        let problems = wrong(&[image("bootstrap.hcl", MINIMAL), image("a.hcl", text)]);
        let problem = about(&problems, path);
        assert!(problem.contains(expected), "{problem}\nis not about\n{expected}");
        assert!(problem.starts_with("a.hcl:"), "{problem}");
        assert!(!problem.contains("u:p"), "{problem}");
    }
}

#[test]
fn a_key_that_would_travel_in_the_open_is_warned_of() {
    let awx = |address: &str| {
        let text = format!("awx {{\n  address = \"{address}\"\n  template = 1\n  key_file = \"/k\"\n}}\n");
        fine(&[image("bootstrap.hcl", MINIMAL), image("a.hcl", &text)]).warnings
    };
    let warnings = awx("http://awx.example.com");
    assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning) && warnings.len() == 1);
    assert!(awx("http://127.0.0.1:8052").is_empty());
    assert!(awx("https://awx.example.com").is_empty());
}

#[test]
fn an_exporter_that_only_the_node_itself_reaches_is_warned_of_where_consul_tells_of_it() {
    let warned = |text: &str| {
        let host = "host {\n  units = [\"consul.service\", \"prometheus-node-exporter.service\"]\n  \
                    file \"consul\" {\n    path = \"/a\"\n  }\n  file \"node_exporter\" {\n    path = \"/b\"\n  }\n  \
                    directory \"consul\" {\n    path = \"/opt/consul\"\n  }\n}\n";
        fine(&[image("bootstrap.hcl", MINIMAL), image("a.hcl", &format!("{host}{text}"))]).warnings.len()
    };
    let near = "monitoring {\n  address = \"http://127.0.0.1:9100/metrics\"\n}\n";
    assert_eq!(warned(&format!("{near}consul {{\n}}\n")), 1);
    assert_eq!(warned(near), 0);
    assert_eq!(warned("monitoring {\n}\nconsul {\n}\n"), 0);
}

#[test]
fn the_documents_are_what_the_tables_say() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    for (path, text) in [
        (format!("{root}/docs/bootstrap-reference.md"), bootstrap_config::reference_markdown()),
        (format!("{root}/bootstrap/config/examples/full.hcl"), bootstrap_config::example_file()),
    ] {
        let written = fs::read_to_string(&path).unwrap_or_default();
        if written != text {
            fs::write(&path, text).expect("the document is written");
            panic!("{path} was not what the tables say; it is now: look at it and commit it");
        }
    }
}

#[test]
fn the_documents_leave_no_default_and_no_example_out() {
    let reference = bootstrap_config::reference_markdown();
    let empty: Vec<&str> = reference.lines().filter(|line| line.contains("|  |")).collect();
    assert!(empty.is_empty(), "a default that is not said: {empty:#?}");
    let example = bootstrap_config::example_file();
    let empty: Vec<&str> = example.lines().filter(|line| line.ends_with("= …")).collect();
    assert!(empty.is_empty(), "an example that says nothing: {empty:#?}");
}

#[test]
fn the_example_file_is_a_configuration() {
    let text = bootstrap_config::example_file();
    let loaded = fine(&[image("full.hcl", &text)]);
    let minimal = fine(&[image("bootstrap.hcl", MINIMAL)]);
    assert_eq!(loaded.settings.watch, minimal.settings.watch, "it says the defaults");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(texts in proptest::collection::vec("[a-z{}\"= \n\\[\\]$.0-9_#]{0,200}", 0..4), key in "[a-z.]{0,30}", value in ".{0,40}") {
        let mut layers: Vec<Layer> = texts.iter().map(|text| image("a.hcl", text)).collect();
        layers.extend(tag_layer(&format!("muster.{key}"), &value));
        let _ = load(&layers);
    }
}

#[test]
fn who_is_to_end_without_a_breaker_is_told_that_it_stays() {
    let right = "host {\n  power_off = true\n}\n";
    let warned = |step: &str, more: &str| {
        let text = format!("{right}step \"{step}\" {{\n  on_failure = \"terminate\"\n}}\n");
        let loaded = fine(&[image("bootstrap.hcl", MINIMAL), image("a.hcl", &text), image("b.hcl", more)]);
        let path = format!("step.{step}.on_failure");
        let found = loaded.warnings.iter().find(|problem| problem.path == path).map(ToString::to_string);
        found.unwrap_or_default()
    };
    let consul = "consul {\n}\nhost {\n  units = [\"consul.service\"]\n  file \"consul\" {\n    path = \"/etc/consul.json\"\n  }\n  \
                  directory \"consul\" {\n    path = \"/var/lib/consul\"\n  }\n}\n";
    assert!(warned("awx", "").contains("there is no `consul` block"), "{}", warned("awx", ""));
    for step in ["identity", "time", "configuration", "vault", "consul"] {
        assert!(
            warned(step, consul).contains("whose Consul does not run"),
            "{step}: {}",
            warned(step, consul)
        );
    }
    for step in ["awx", "monitoring", "nomad", "ready"] {
        assert_eq!(warned(step, consul), "", "{step}");
    }
}

#[test]
fn what_root_wrote_is_not_the_agents_to_remove() {
    let text = "host {\n  file \"app\" {\n    path = \"/etc/app\"\n  }\n}\nvault {\n  address = \"https://vault\"\n  \
                jwt {\n    role = \"node\"\n    file = \"/run/jwt\"\n  }\n  template \"app\" {\n    source = \"/etc/t\"\n    \
                file = \"app\"\n    remove_at_stop = true\n  }\n}\n";
    let problems = wrong(&[image("bootstrap.hcl", MINIMAL), image("a.hcl", text)]);
    let told = about(&problems, "vault.template.app.remove_at_stop");
    assert!(told.contains("stands beside `file`, which root wrote"), "{told}");
}

#[test]
fn a_token_of_vault_is_left_in_one_place_that_not_everybody_may_read() {
    let told = |mode: &str, more: &str| {
        let text = format!(
            "host {{\n  file \"token\" {{\n    path = \"/run/app/token\"\n    owner = \"app\"\n    mode = \"{mode}\"\n  }}\n}}\n\
             vault {{\n  address = \"https://vault\"\n  jwt {{\n    role = \"node\"\n    file = \"/run/jwt\"\n  }}\n  \
             file = \"token\"\n{more}}}\n"
        );
        about(&wrong(&[image("bootstrap.hcl", MINIMAL), image("a.hcl", &text)]), "vault.file")
    };
    assert!(told("0644", "").contains("is a `file` of `host` that everybody may read"));
    let both = told("0400", "  token_file = \"/run/muster/token\"\n");
    assert!(both.contains("stands beside `token_file`"), "{both}");
}
