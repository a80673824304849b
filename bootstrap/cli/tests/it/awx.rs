//! AWX: each row of what it answers, the wait for its job, crashes in between, and drift.

use crate::awx_server::{Awx, KEY, Row, TOKEN};
use crate::ground::{Cloud, Node, failure_of, state_of};
use bootstrap_core::{State, Step};
use muster_test_servers::{request, wait_for};
use std::fs;
use std::thread;

/// How long an attempt may take, where that is of no matter.
const ATTEMPT: &str = "30s";

fn configuration(awx: &Awx, attempt: &str, more: &str) -> String {
    let address = awx.address();
    format!(
        "awx {{\n  address = \"{address}\"\n  template = 7\n  key_file = \"$PLACE/key\"\n  token_file = \"$PLACE/token\"\n  \
         jitter = \"0s\"\n  extra_vars = {{ role = \"web\" }}\n{more}}}\n\
         step \"awx\" {{\n  attempt = \"{attempt}\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"60s\"\n}}\n"
    )
}

fn node(cloud: &Cloud, awx: &Awx, more: &str) -> Node {
    node_of(cloud, &configuration(awx, ATTEMPT, more))
}

fn node_of(cloud: &Cloud, configuration: &str) -> Node {
    let node = Node::new(cloud, 0, configuration);
    fs::write(node.path().join("key"), format!("{KEY}\n")).expect("written");
    fs::write(node.path().join("token"), format!("{TOKEN}\n")).expect("written");
    node
}

/// The same where jobs cannot be looked at.
fn without_token(configuration: &str) -> String {
    let text = configuration.replace("  token_file = \"$PLACE/token\"\n", "");
    assert!(!text.contains("token_file"));
    text
}

fn node_without_token(cloud: &Cloud, awx: &Awx) -> Node {
    node_of(cloud, &without_token(&configuration(awx, ATTEMPT, "")))
}

/// What the playbook's last task writes of the first job.
fn finish(node: &Node) {
    let directory = node.path().join("state/awx");
    fs::create_dir_all(&directory).expect("made");
    let text = format!(r#"{{"job": 1, "instance": "{}", "status": "successful"}}"#, node.instance);
    fs::write(directory.join("1.json"), text).expect("written");
}

/// A callback that nobody's agent sent. * returns: its status.
fn call_back(awx: &Awx) -> u16 {
    let body = format!(r#"{{"host_config_key": "{KEY}", "extra_vars": {{}}}}"#);
    request(awx.addr(), "POST", "/api/v2/job_templates/7/callback/", &[], &body).expect("an answer").status
}

#[test]
fn two_callbacks_at_once_make_two_jobs_which_is_why_the_agent_sends_one() {
    let awx = Awx::start();
    awx.state().meet = 2;
    let statuses: Vec<u16> = thread::scope(|scope| {
        let both = [scope.spawn(|| call_back(&awx)), scope.spawn(|| call_back(&awx))];
        both.map(|one| one.join().expect("an answer")).to_vec()
    });
    assert_eq!(statuses, [201, 201], "AWX's guard looks before it creates");
    {
        let state = awx.state();
        assert_eq!((state.jobs.len(), state.most_at_once), (2, 2));
    }
    assert_eq!(call_back(&awx), 400, "one that comes later is told that there is one");
    assert_eq!(awx.state().answered[2].1, r#"{"msg":"Host callback job already pending."}"#);
}

#[test]
fn the_job_is_asked_for_once_and_waited_for() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    let mut node = node(&cloud, &awx, "");
    node.start();
    wait_for("a job", || (awx.state().jobs.len() == 1).then_some(()));
    assert_eq!(awx.state().jobs[0].variables["instance_id"], node.instance.as_str());
    assert_eq!(awx.state().jobs[0].variables["role"], "web");
    let status = node.wait_state(Step::Awx, State::Running);
    assert_eq!(state_of(&status, Step::Ready), State::Waiting);
    assert!(!node.path().join("run/ready").exists(), "nothing is ready before the job has ended");
    awx.end("successful", "");
    node.wait_done();
    assert_eq!(awx.state().callbacks, 1);
}

#[test]
fn what_passes_is_asked_again_one_at_a_time_and_makes_one_job() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().rows = vec![
        Row::CutBefore,
        Row::Says(503, "<html>Service Unavailable</html>"),
        Row::Says(429, "{}"),
        Row::Says(400, r#"{"msg":"No matching host could be found!"}"#),
        Row::Says(400, r#"{"msg":"Multiple hosts matched the request!"}"#),
        Row::Says(400, r#"{"msg":"Error starting job!"}"#),
    ];
    awx.state().ends_as = "successful";
    let mut node = node(&cloud, &awx, "");
    node.start();
    node.wait_done();
    let state = awx.state();
    assert_eq!((state.callbacks, state.jobs.len(), state.most_at_once), (7, 1, 1));
}

#[test]
fn an_answer_that_is_lost_is_found_again_as_already_pending() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().rows = vec![Row::CutAfter];
    let mut node = node(&cloud, &awx, "");
    node.start();
    wait_for("a second question or a look", || (!awx.state().jobs.is_empty()).then_some(()));
    awx.end("successful", "");
    node.wait_done();
    assert_eq!(awx.state().jobs.len(), 1, "one job");
}

#[test]
fn a_job_that_cannot_be_looked_for_is_known_as_already_pending() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().rows = vec![Row::CutAfter];
    let mut node = node_without_token(&cloud, &awx);
    node.start();
    wait_for("the second callback's answer", || (!awx.state().answered.is_empty()).then_some(()));
    let pending = (400, r#"{"msg":"Host callback job already pending."}"#.to_owned());
    assert_eq!(awx.state().answered, [pending]);
    finish(&node);
    node.wait_done();
    let state = awx.state();
    assert_eq!((state.callbacks, state.jobs.len()), (2, 1), "that was success");
}

#[test]
fn a_callback_whose_answer_takes_longer_than_an_attempt_has_its_job_found_again() {
    for looks in [true, false] {
        let (cloud, awx) = (Cloud::start(), Awx::start());
        awx.state().rows = vec![Row::Hangs];
        let text = configuration(&awx, "3s", "");
        let mut node = node_of(&cloud, &if looks { text } else { without_token(&text) });
        node.start();
        // It is cut off by us, and nobody knows then whether there is a job.
        node.wait_until("the end of an attempt", |status| {
            failure_of(status, Step::Awx).contains("AWX has not answered the callback yet")
        });
        assert_eq!(awx.state().jobs.len(), 1);
        if looks {
            awx.end("successful", "");
        } else {
            wait_for("another callback", || (awx.state().callbacks == 2).then_some(()));
            finish(&node);
        }
        node.wait_done();
        let state = awx.state();
        assert_eq!(state.jobs.len(), 1, "one job, looked for: {looks}");
        assert_eq!(state.callbacks, if looks { 1 } else { 2 }, "who sees its job asks for no other");
    }
}

#[test]
fn what_cannot_pass_fails_the_step_at_once_and_says_why() {
    for (status, body, expected) in [
        (403, r#"{"detail":"You do not have permission to perform this action."}"#, "permission"),
        (404, r#"{"detail":"No JobTemplate matches the given query."}"#, "No JobTemplate matches"),
        (415, r#"{"detail":"You did not use correct Content-Type in your HTTP request."}"#, "Content-Type"),
        (400, r#"{"msg":"Cannot start automatically, an inventory is required."}"#, "inventory is required"),
        (400, r#"{"msg":"Cannot start automatically, user input required!"}"#, "user input required"),
        (
            400,
            r#"{"detail":"JSON parse error - Expecting value: line 1 column 1 (char 0)"}"#,
            "JSON parse error",
        ),
        (401, r#"{"detail":"Authentication credentials were not provided."}"#, "provisioning callback"),
    ] {
        let (cloud, awx) = (Cloud::start(), Awx::start());
        awx.state().rows = vec![Row::Says(status, body); 100];
        // At once: nobody waits for half an hour.
        let text = configuration(&awx, ATTEMPT, "");
        let long = text.replace("deadline = \"60s\"", "deadline = \"30m\"");
        assert_ne!(long, text);
        let mut node = node_of(&cloud, &long);
        node.start();
        let status = node.wait_state(Step::Awx, State::Failed);
        let failure = failure_of(&status, Step::Awx);
        assert!(failure.contains(expected), "{failure}");
        assert!(!failure.contains(KEY) && !node.log().contains(KEY), "the key is nowhere");
    }
}

#[test]
fn a_job_that_fails_is_the_steps_failure_with_its_link_and_the_end_of_its_output() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    let mut node = node(&cloud, &awx, "");
    node.start();
    wait_for("a job", || (awx.state().jobs.len() == 1).then_some(()));
    awx.end("failed", "TASK [monitoring]\n\u{1b}[0;31mfatal: [node-a]: FAILED! => no space left\u{1b}[0m\n");
    let status = node.wait_state(Step::Awx, State::Failed);
    let failure = failure_of(&status, Step::Awx);
    assert!(failure.contains("job 1 of AWX ended as failed"), "{failure}");
    assert!(failure.contains(&format!("{}/#/jobs/playbook/1/output", awx.address())), "{failure}");
    let shown = node.command(&["status"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("    | fatal: [node-a]: FAILED! => no space left\n"), "{text}");
    // Another attempt is another job, and its success takes the failure back.
    wait_for("another job", || (awx.state().jobs.len() == 2).then_some(()));
    awx.end("successful", "");
    node.wait_done();
}

#[test]
fn an_agent_that_is_killed_while_the_job_runs_waits_for_the_same_job() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    let mut node = node(&cloud, &awx, "");
    node.start();
    let path = node.path().join("state").join(node.instance.as_str()).join("awx.json");
    wait_for("the job's number on disk", || {
        fs::read_to_string(&path).ok().filter(|text| text.contains("job 1"))
    });
    node.kill();
    awx.end("successful", "");
    node.start();
    node.wait_done();
    let state = awx.state();
    assert_eq!((state.callbacks, state.jobs.len()), (1, 1), "nobody asked again");
}

#[test]
fn an_agent_that_is_killed_before_it_knows_of_its_job_finds_it() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().rows = vec![Row::Hangs];
    let mut node = node(&cloud, &awx, "");
    node.start();
    wait_for("a job", || (awx.state().jobs.len() == 1).then_some(()));
    node.kill();
    // It ends before anybody asks again: "already pending" cannot say it.
    awx.end("successful", "");
    node.start();
    node.wait_done();
    let state = awx.state();
    assert_eq!((state.callbacks, state.jobs.len()), (1, 1), "it was found among the jobs");
}

#[test]
fn without_a_token_the_playbook_says_when_it_is_done() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    let mut node = node_without_token(&cloud, &awx);
    node.start();
    wait_for("a job", || (awx.state().jobs.len() == 1).then_some(()));
    let directory = node.path().join("state/awx");
    fs::create_dir_all(&directory).expect("made");
    let completion =
        |instance: &str| format!(r#"{{"job": 1, "instance": "{instance}", "status": "successful"}}"#);
    fs::write(directory.join("1.json"), completion("i-0000000000000000f")).expect("written");
    let status = node.wait_state(Step::Awx, State::Running);
    assert_eq!(state_of(&status, Step::Ready), State::Waiting, "another instance's end is not ours");
    fs::write(directory.join("1.json"), completion(node.instance.as_str())).expect("written");
    node.wait_done();
}

#[test]
fn the_job_is_asked_for_again_from_time_to_time_and_its_failures_count() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().ends_as = "successful";
    let mut node = node(&cloud, &awx, "  drift = \"4s\"\n  drift_failures = 2\n");
    node.start();
    node.wait_done();
    let again = |node: &Node, jobs: usize| {
        wait_for("another job", || {
            node.verify();
            (awx.state().jobs.len() >= jobs).then_some(())
        });
    };
    again(&node, 2);
    let status = node.wait_until("a drift run that went well", |status| status.drift.is_some());
    assert_eq!(status.drift.as_ref().map(|drift| (drift.failures, drift.outcome.as_str())), Some((0, "ok")));
    awx.state().ends_as = "failed";
    let before = awx.state().jobs.len();
    again(&node, before + 1);
    let status = node
        .wait_until("one failure", |status| status.drift.as_ref().is_some_and(|drift| drift.failures == 1));
    assert_ne!(state_of(&status, Step::Awx), State::Failed, "one is none");
    again(&node, before + 2);
    node.wait_state(Step::Awx, State::Failed);
    let metrics = fs::read_to_string(node.path().join("run/metrics/muster_bootstrap.prom")).expect("metrics");
    assert!(metrics.contains("muster_bootstrap_drift_failures 2"), "{metrics}");
    let shown = node.command(&["status"]).output().expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("\ndrift: job "), "{shown}");
}
