//! The login by AWS IAM: a real Vault, the role of an instance, and the loopback cloud's STS, which checks signatures.

use crate::cloud::{Cloud, REGION, wall};
use bootstrap_aws::{Aws, CallerIdentity};
use bootstrap_core::{Now, Secret};
use bootstrap_vault::{
    Destination, Keeper, LoginRequest, Method, Server, SignLogin, Signing, VaultError, VaultOptions,
};
use fleet::ports::Clock as _;
use fleet_clock::SystemClock;
use muster_test_servers::{Vault, VaultOptions as ServerOptions};
use serde_json::json;
use std::sync::Arc;

const SERVER_ID: &str = "vault.example.com";

/// Signs as the agent does.
fn signer(aws: Aws, whom: CallerIdentity) -> Arc<dyn SignLogin> {
    Arc::new(move || -> Signing {
        let (aws, whom) = (aws.clone(), whom.clone());
        Box::pin(async move {
            let signed = aws.sign_caller_identity(&whom, wall()).await?;
            let (method, url) = (signed.method.to_owned(), signed.url);
            Ok(LoginRequest { method, url, body: signed.body, headers: signed.headers })
        })
    })
}

/// A Vault that asks the cloud's STS, as one of a region, and takes the instances' role for the role `node`.
fn vault(cloud: &Cloud, sts_region: &str) -> Vault {
    let vault = Vault::start(&ServerOptions::default());
    vault.call("POST", "sys/auth/aws", &json!({ "type": "aws" }));
    let config = json!({
        "sts_endpoint": cloud.server.endpoint(),
        "sts_region": sts_region,
        "iam_server_id_header_value": SERVER_ID
    });
    vault.call("POST", "auth/aws/config/client", &config);
    let account = cloud.world.lock().expect("nobody panicked").spec().account.clone();
    let role = json!({
        "auth_type": "iam",
        "bound_iam_principal_arn": [format!("arn:aws:iam::{account}:role/muster-node")],
        "resolve_aws_unique_ids": false,
        "token_policies": ["node"],
        "token_ttl": "60s"
    });
    vault.call("POST", "auth/aws/role/node", &role);
    vault
}

async fn login(
    vault: &Vault,
    signer: Arc<dyn SignLogin>,
    role: &str,
) -> (Keeper, Vec<VaultError>, Option<String>) {
    let place = tempfile::tempdir_in("/dev/shm").expect("tmpfs");
    let method = Method::Aws { mount: "aws".into(), role: role.into() };
    let mut options = VaultOptions::new(Server::new(vault.address()), method);
    let path = place.path().join("token");
    options.token_file = Some(Destination::private(&path));
    let mut keeper = Keeper::new(options, Some(signer), 1).expect("options");
    let clock = SystemClock::new();
    let (stepped, _) = keeper.step_and_place(Now { wall: clock.wall(), monotonic: clock.monotonic() }).await;
    (keeper, stepped.failures, std::fs::read_to_string(path).ok())
}

// Several threads: the cloud that Vault asks is served by this process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_logs_in_by_its_role() {
    let cloud = Cloud::new().await;
    let vault = vault(&cloud, "us-east-1");
    let whom = CallerIdentity { server_id: Some(SERVER_ID.into()), ..CallerIdentity::default() };
    let (_, failures, token) = login(&vault, signer(cloud.aws(), whom.clone()), "node").await;
    assert_eq!(failures, []);
    assert!(vault.knows(&token.expect("a token")));

    let refused = async |signer, role: &str, expect: &str| {
        let (_, failures, token) = login(&vault, signer, role).await;
        let [error] = &failures[..] else { panic!("{failures:?}") };
        assert!(error.to_string().contains(expect), "{error}");
        assert_eq!(token, None);
        error.clone()
    };
    let error = refused(signer(cloud.aws(), whom.clone()), "nope", "nope").await;
    assert!(error.is_lasting(), "{error}");
    refused(signer(cloud.aws(), CallerIdentity::default()), "node", "missing header").await;
    let other = CallerIdentity { server_id: Some("other.example.com".into()), ..CallerIdentity::default() };
    refused(signer(cloud.aws(), other), "node", "expected").await;
    // Who is not of that role may not, though STS knows them.
    let user = Aws::new(cloud.static_key("muster-secret")).expect("options");
    refused(signer(user, whom.clone()), "node", "").await;

    // A signature of another key, or an old one: STS refuses, and what it quotes of the session is struck.
    let forged = Aws::new(cloud.static_key("planted-another-key")).expect("options");
    let error = refused(signer(forged, whom.clone()), "node", "").await;
    assert!(!format!("{error} {error:?}").contains("planted"), "{error:?}");
    let aws = cloud.aws();
    let old: Arc<dyn SignLogin> = Arc::new(move || -> Signing {
        let (aws, whom) = (aws.clone(), whom.clone());
        Box::pin(async move {
            let then = fleet::Timestamp::from_millis(wall().millis() - 600_000);
            let signed = aws.sign_caller_identity(&whom, then).await?;
            Ok(LoginRequest {
                method: "POST".into(),
                url: signed.url,
                body: signed.body,
                headers: signed.headers,
            })
        })
    });
    let error = refused(old, "node", "upstream").await;
    assert!(!error.is_lasting(), "{error}");
}

// As above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_logs_in_to_a_vault_that_asks_the_sts_of_a_region() {
    let cloud = Cloud::new().await;
    let vault = vault(&cloud, REGION);
    let whom = CallerIdentity {
        server_id: Some(SERVER_ID.into()),
        region: Some(REGION.into()),
        ..CallerIdentity::default()
    };
    let (_, failures, token) = login(&vault, signer(cloud.aws(), whom.clone()), "node").await;
    assert_eq!(failures, []);
    assert!(vault.knows(&token.expect("a token")));
    let signed = cloud.aws().sign_caller_identity(&whom, wall()).await.expect("a role");
    assert_eq!(signed.url, format!("https://sts.{REGION}.amazonaws.com/"));
    let scope = signed.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let (_, scope): &(String, Secret) = scope.expect("it is signed");
    assert!(scope.expose().contains(&format!("/{REGION}/sts/aws4_request")), "signed for that region");
}

#[tokio::test]
async fn a_signed_request_shows_neither_signature_nor_token() {
    let cloud = Cloud::new().await;
    let signed = cloud.aws().sign_caller_identity(&CallerIdentity::default(), wall()).await.expect("a role");
    let token = signed.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-amz-security-token"));
    let (_, token): &(String, Secret) = token.expect("a role's keys have a token");
    let shown = format!("{signed:?}");
    assert!(!shown.contains(token.expose()) && !shown.contains("Signature="), "{shown}");
}
