//! What cloud-init does with an instance's user data: the image has none of it, so it is done before the machine boots.

use muster_machine::Overlay;
use muster_test_servers::{Answer, request};
use serde_json::Value;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use tests::ground::Cloud;

/// Reads YAML as JSON.
const READ: &str = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";

/// Writes the files that an instance's user data names.
pub fn write_files(overlay: &Overlay, cloud: &Cloud, instance: &str) {
    let text = user_data(cloud, instance);
    assert!(
        text.starts_with("#cloud-config\n"),
        "{instance} has user data that cloud-init does not read: {text}"
    );
    let data = read(&text);
    let files = data["write_files"].as_array().unwrap_or_else(|| panic!("it writes no file: {text}"));
    for file in files {
        let field =
            |name: &str| file[name].as_str().unwrap_or_else(|| panic!("a file without {name}: {text}"));
        let mode =
            u32::from_str_radix(field("permissions"), 8).unwrap_or_else(|error| panic!("{error}: {text}"));
        let written = overlay.write(field("path").trim_start_matches('/'), mode, field("content"));
        written.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// As the instance finds it in its metadata.
fn user_data(cloud: &Cloud, instance: &str) -> String {
    let at: SocketAddr = cloud.endpoint().trim_start_matches("http://").parse().expect("an address");
    let ask = |method, path, header| -> Answer {
        let answer = request(at, method, &format!("/_imds/{instance}/latest/{path}"), &[header], "");
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(answer.status, 200, "{path} of {instance}: {}", answer.body);
        answer
    };
    let token = ask("PUT", "api/token", ("X-aws-ec2-metadata-token-ttl-seconds", "60")).body;
    ask("GET", "user-data", ("X-aws-ec2-metadata-token", &token)).body
}

fn read(yaml: &str) -> Value {
    let bin = tests::tools::ansible().unwrap_or_else(|missing| panic!("{missing}"));
    let mut python = Command::new(bin.join("python"))
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Ansible's Python");
    python.stdin.take().expect("piped").write_all(yaml.as_bytes()).expect("it reads");
    let read = python.wait_with_output().expect("it ends");
    serde_json::from_slice(&read.stdout).unwrap_or_else(|error| panic!("{error}: {yaml}"))
}
