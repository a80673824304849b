//! The autoscaler as a Nomad job, as real Nomad reads it. `job_update.rs` runs it. That the policies beside it are
//! enough is seen there, and in `leaders.rs` and `nodes.rs`, whose processes have no other rights.

use muster_test_servers::{Nomad, NomadOptions};
use serde_json::{Value, json};

const JOB: &str = include_str!("../../autoscaler/nomad/job/muster-autoscaler.nomad.hcl");
const NEEDED: &str = "policy = \"fleet \\\"web\\\" {}\"\nnode_pool = \"core\"\n";

/// The job with what it needs and these variables, as Nomad reads it.
fn parse(nomad: &Nomad, variables: &str) -> Value {
    let body = json!({ "JobHCL": JOB, "Variables": format!("{NEEDED}{variables}"), "Canonicalize": true });
    nomad.call("POST", "/v1/jobs/parse", &body)
}

fn task(job: &Value) -> &Value {
    &job["TaskGroups"][0]["Tasks"][0]
}

#[test]
fn nomad_takes_the_job_with_every_driver() {
    let nomad = Nomad::start(NomadOptions::default());
    let pool = nomad.try_call("POST", "/v1/node/pool/core", &json!({ "Name": "core" }).to_string());
    pool.expect("it answers").must_be_success();
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
    let arguments = |job: &Value| task(job)["Config"]["args"].to_string();
    let plain = arguments(&parse(&nomad, ""));
    assert!(plain.contains("--insecure-http") && !plain.contains("--identity"), "{plain}");
    let job = parse(&nomad, all);
    let served = arguments(&job);
    assert!(served.contains("--tls-certificate") && !served.contains("--insecure-http"), "{served}");
    assert_eq!(task(&job)["Env"]["AWS_ROLE_ARN"], "arn:aws:iam::123456789012:role/muster");
    assert_eq!(task(&job)["Vault"]["Role"], "muster-autoscaler");
    assert_eq!(job["TaskGroups"][0]["Constraints"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_task_that_runs_as_nobody_can_read_its_files_and_nodes_can_identify() {
    let nomad = Nomad::start(NomadOptions::default());
    let variables = "driver = \"exec\"\ntls_role = \"pki/issue/muster\"\nshared_node_tokens = true\n\
                     identity_certificates = \"PEM\"\nidentity_accounts = [\"1\", \"2\"]\n";
    let job = parse(&nomad, variables);
    let templates = task(&job)["Templates"].as_array().expect("templates");
    for template in templates.iter().filter(|template| template["Perms"] == "0400") {
        assert_eq!((&template["Uid"], &template["Gid"]), (&json!(65534), &json!(65534)), "{template}");
    }
    assert!(templates.iter().any(|template| template["DestPath"] == "local/identity.pem"), "{templates:?}");
    let arguments = task(&job)["Config"]["args"].to_string();
    assert_eq!(arguments.matches("--identity-account").count(), 2, "{arguments}");
}

#[test]
fn the_job_is_taken_into_a_pool_of_its_own_alone_and_shares_a_key_where_it_is_told_to() {
    let nomad = Nomad::start(NomadOptions::default());
    let refused = |variables: &str| {
        let body = json!({ "JobHCL": JOB, "Variables": variables, "Canonicalize": true });
        let answer = nomad.try_call("POST", "/v1/jobs/parse", &body.to_string()).expect("it answers");
        assert_ne!(answer.status, 200, "{variables}");
        answer.body
    };
    let policy = "policy = \"\"\n";
    assert!(refused(policy).contains("node_pool"), "no pool is not any pool");
    for pool in ["default", "all", ""] {
        let why = refused(&format!("{policy}node_pool = \"{pool}\"\n"));
        assert!(why.contains("Name a node pool"), "{pool}: {why}");
    }
    let job = parse(&nomad, "");
    assert_eq!(job["NodePool"], "core");
    let constraint = &job["TaskGroups"][0]["Constraints"][1];
    assert_eq!(constraint["LTarget"], "${attr.platform.aws.instance-life-cycle}");
    let count = |job: &Value| task(job)["Templates"].as_array().map_or(0, Vec::len);
    let shared = parse(&nomad, "shared_node_tokens = true\n");
    assert_eq!((count(&job), count(&shared)), (1, 2));
    let key = task(&shared)["Templates"].as_array().expect("templates").last().expect("two");
    assert_eq!((&key["DestPath"], &key["Perms"]), (&json!("secrets/node-token.key"), &json!("0400")));
    let arguments = task(&shared)["Config"]["args"].to_string();
    assert!(arguments.contains("--identity-key-file"), "{arguments}");
}
