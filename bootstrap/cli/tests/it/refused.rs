//! AWS that refuses: the login to Vault as the instance's role, and the parameter that holds AWX's key.

use crate::awx_server::{Awx, KEY, TOKEN};
use crate::ground::{Cloud, Node, failure_of, state_of};
use crate::secrets::{SERVER_ID, in_sight, memory, must_lack, vault};
use bootstrap_agent::status::Status;
use bootstrap_core::{Condition, State, Step};
use fleet_cloud::{FaultKind, HttpFault};
use serde_json::json;
use std::fs;

/// A step that is tried again every second, and has failed when it is not done within its deadline.
fn soon(step: &str, deadline: &str) -> String {
    format!(
        "step \"{step}\" {{\n  attempt = \"10s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"{deadline}\"\n}}\n"
    )
}

/// Waits until a step has failed with all of these words, and looks that it alone has.
fn must_fail(node: &Node, step: Step, words: &[&str]) -> Status {
    let status = node.wait_until(&format!("{step}: {words:?}"), |status| {
        let said = failure_of(status, step);
        state_of(status, step) == State::Failed && words.iter().all(|word| said.contains(word))
    });
    assert_eq!(status.report.condition, Condition::Failed, "{status:?}");
    let failed = status.report.steps.iter().filter(|report| report.state == State::Failed);
    assert_eq!(failed.map(|report| report.step).collect::<Vec<_>>(), [step], "{status:?}");
    assert_eq!(state_of(&status, Step::Configuration), State::Done, "{status:?}");
    assert_eq!(state_of(&status, Step::Ready), State::Waiting, "{status:?}");
    assert!(!node.path().join("run/ready").exists(), "{status:?}");
    status
}

#[test]
fn a_login_by_the_role_of_the_instance_that_is_refused_fails_the_step_of_vault_until_it_is_taken() {
    let (cloud, awx, secrets) = (Cloud::start(), Awx::start(), memory());
    awx.state().ends_as = "successful";
    let vault = vault(&cloud);
    let account = cloud.world().spec().account.clone();
    let bind = |role: &str| {
        let arn = format!("arn:aws:iam::{account}:role/{role}");
        vault.call("POST", "auth/aws/role/node", &json!({"bound_iam_principal_arn": [arn]}));
    };
    let is_called =
        |id: &str| vault.call("POST", "auth/aws/config/client", &json!({"iam_server_id_header_value": id}));
    let token = secrets.path().join("token");
    let text = format!(
        "vault {{\n  address = \"{}\"\n  token_file = \"{}\"\n  revoke = \"stop\"\n  aws {{\n    role = \"node\"\n    \
         server_id = \"{SERVER_ID}\"\n  }}\n}}\nawx {{\n  address = \"{}\"\n  template = 7\n  key_file = \"$PLACE/key\"\n  \
         token_file = \"$PLACE/api\"\n  jitter = \"0s\"\n}}\n{}",
        vault.address(),
        token.display(),
        awx.address(),
        soon("vault", "60s"),
    );
    let mut node = Node::new(&cloud, 0, &text);
    fs::write(node.path().join("key"), KEY).expect("written");
    fs::write(node.path().join("api"), TOKEN).expect("written");
    let must_fail = |node: &Node, words: &[&str]| {
        let status = must_fail(node, Step::Vault, words);
        assert_eq!(state_of(&status, Step::Awx), State::Waiting, "{status:?}");
        assert!(!token.exists(), "there is no login");
        assert_eq!(awx.state().callbacks, 0, "nobody is asked for what comes after it");
    };

    // The role in Vault is for other instances.
    bind("somebody-else");
    node.start();
    must_fail(&node, &["POST auth/aws/login was refused (400)", "does not belong to the role"]);
    // STS does not say who that is.
    cloud.server.set_faults(vec![HttpFault::new(FaultKind::Deny, &["GetCallerIdentity"])]);
    bind("muster-node");
    must_fail(&node, &["POST auth/aws/login failed on the server", "403 from STS", "AccessDenied"]);
    // It was signed for another Vault.
    is_called("another.example.com");
    cloud.server.set_faults(Vec::new());
    must_fail(&node, &["POST auth/aws/login was refused (400)", "another.example.com"]);
    must_lack(&in_sight(&node), &cloud.session_keys(&node.instance));

    // Nobody tells the agent.
    is_called(SERVER_ID);
    node.wait_done();
    assert!(vault.knows(&fs::read_to_string(&token).expect("a token")));
    assert_eq!(awx.state().callbacks, 1);
    must_lack(&in_sight(&node), &cloud.session_keys(&node.instance));
}

#[test]
fn a_key_of_awx_that_cannot_be_had_fails_the_step_of_awx_until_it_can() {
    let (cloud, awx) = (Cloud::start(), Awx::start());
    awx.state().ends_as = "successful";
    let text = format!(
        "parameters {{\n  path = \"/muster/web\"\n  endpoint = \"{}\"\n}}\nawx {{\n  address = \"{}\"\n  template = 7\n  \
         key_parameter = \"/muster/web/awx-key\"\n  token_file = \"$PLACE/api\"\n  jitter = \"0s\"\n}}\n{}",
        cloud.server.endpoint(),
        awx.address(),
        soon("awx", "10s"),
    );
    let mut node = Node::new(&cloud, 0, &text);
    fs::write(node.path().join("api"), TOKEN).expect("written");
    let must_fail = |node: &Node, words: &str| {
        must_fail(node, Step::Awx, &["could not read the parameter /muster/web/awx-key in SSM: ", words]);
        assert_eq!(awx.state().callbacks, 0, "nobody is asked without a key");
    };

    // Nobody has written it.
    node.start();
    must_fail(&node, "ParameterNotFound");
    // The role may read what lies beneath the path, and not this one.
    cloud.server.set_faults(vec![HttpFault::new(FaultKind::Deny, &["GetParameter"])]);
    cloud.put_parameter("/muster/web/awx-key", "SecureString", KEY);
    must_fail(&node, "AccessDeniedException");
    must_lack(&in_sight(&node), &[KEY]);

    // Nobody tells the agent.
    cloud.server.set_faults(Vec::new());
    node.wait_done();
    let state = awx.state();
    assert_eq!((state.callbacks, state.jobs.len()), (1, 1));
    drop(state);
    must_lack(&in_sight(&node), &[KEY]);
}
