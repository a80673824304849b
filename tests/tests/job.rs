//! The autoscaler as a Nomad job, as real Nomad reads it. `job_update.rs` runs it. That the policies beside it are
//! enough is seen there, and in `leaders.rs` and `nodes.rs`, whose processes have no other rights.

use muster_test_servers::{Nomad, NomadOptions};
use serde_json::{Value, json};

const JOB: &str = include_str!("../../autoscaler/nomad/job/muster-autoscaler.nomad.hcl");
const POLICY: &str = "policy = \"fleet \\\"web\\\" {}\"\n";

/// The job with these variables, as Nomad reads it.
fn parse(nomad: &Nomad, variables: &str) -> Value {
    let variables = format!("{POLICY}{variables}");
    let body = json!({ "JobHCL": JOB, "Variables": variables, "Canonicalize": true });
    nomad.call("POST", "/v1/jobs/parse", &body)
}

fn task(job: &Value) -> &Value {
    &job["TaskGroups"][0]["Tasks"][0]
}

#[test]
fn nomad_takes_the_job_with_every_driver() {
    let nomad = Nomad::start(NomadOptions::default());
    let cases = [
        ("docker", "driver = \"docker\"\n"),
        ("exec", "driver = \"exec\"\nbinary = \"https://example.com/muster-autoscaler\"\n"),
        ("raw_exec", "driver = \"raw_exec\"\ncommand = \"/usr/local/bin/muster-autoscaler\"\n"),
    ];
    for (driver, variables) in cases {
        let job = parse(&nomad, variables);
        let plan = json!({ "Job": job, "Diff": true });
        let plan = nomad.call("POST", "/v1/job/muster-autoscaler/plan", &plan);
        assert_eq!(plan["Diff"]["Type"], "Added", "{driver}: {plan}");
        // No node is there; everything else is in order.
        assert_eq!(plan["Warnings"], "", "{driver}: {plan}");
        let task = task(&job);
        assert_eq!(task["Driver"], driver);
        assert_eq!(task["Config"]["image"].is_string(), driver == "docker", "{task}");
        assert_eq!(task["Artifacts"].as_array().map_or(0, Vec::len), usize::from(driver == "exec"), "{task}");
        assert!(task["Env"].get("AWS_ROLE_ARN").is_none(), "none is not the same as an empty one: {task}");
    }
    let all = "role_arn = \"arn:aws:iam::123456789012:role/muster\"\n\
               queue_url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/muster\"\n\
               tls_role = \"pki/issue/muster\"\nallow_on_scaled_fleets = true\n";
    let job = parse(&nomad, all);
    assert_eq!(task(&job)["Env"]["AWS_ROLE_ARN"], "arn:aws:iam::123456789012:role/muster");
    assert_eq!(task(&job)["Vault"]["Role"], "muster-autoscaler");
    assert_eq!(job["TaskGroups"][0]["Constraints"].as_array().map(Vec::len), Some(1));
}
