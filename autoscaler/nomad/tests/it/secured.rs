//! TLS both ways, with files that change, and the socket that Nomad gives its own tasks.

use crate::cluster::{all_running, job, ours, shared, surveyed, tidy, until};
use autoscaler_nomad::{Nomad, Options, TlsOptions};
use muster_test_servers::NomadOptions;
use serde_json::json;
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_prove_who_they_are_and_files_are_read_again() {
    let cluster = muster_test_servers::Nomad::start(NomadOptions { tls: true, ..NomadOptions::default() });
    let files = cluster.tls().expect("it has TLS");
    let ca = cluster.directory().join("ca.pem");
    let copy = |from: &Path| {
        std::fs::copy(from, &ca).expect("a copy");
    };
    copy(&files.ca);
    let tls = TlsOptions {
        ca_file: Some(ca.clone()),
        cert_file: Some(files.cert.clone()),
        key_file: Some(files.key.clone()),
        server_name: Some(files.server_name.clone()),
    };
    let with = |tls: TlsOptions| {
        Nomad::new(Options { addresses: vec![cluster.address()], tls, ..Options::default() })
            .expect("good options")
    };
    let nomad = with(tls.clone());
    until("an answer over TLS", async || nomad.nodes().await.ok()).await;

    let nameless = with(TlsOptions { cert_file: None, key_file: None, ..tls.clone() });
    nameless.nodes().await.expect_err("we did not prove who we are");
    let other = with(TlsOptions { server_name: Some("client.global.nomad".to_owned()), ..tls.clone() });
    other.nodes().await.expect_err("it is somebody else");

    // A certificate that signed nothing: believed in as soon as it is in the file.
    copy(&files.cert);
    nomad.nodes().await.expect_err("nobody we trust signed its certificate");
    std::fs::write(&ca, "half a cert").expect("a file");
    nomad.nodes().await.expect_err("what was read before stays in use");
    copy(&files.ca);
    nomad.nodes().await.expect("trusted again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_nomads_own_asks_by_its_socket() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    let mut own = job("own", "service", 1);
    own["TaskGroups"][0]["Tasks"][0]["Identity"] = json!({ "File": true });
    cluster.register(&own);
    let nodes = surveyed(&nomad, "the task to run", |nodes| all_running(nodes, "own") == 1).await;
    let node = nodes.iter().find(|node| !node.allocs.is_empty()).expect("it runs somewhere");
    let alloc = &node.allocs[0].id;
    let secrets = cluster.client_directory(&node.name).join(format!("alloc/{alloc}/main/secrets"));
    let options = Options {
        addresses: vec![format!("unix://{}", secrets.join("api.sock").display())],
        token_file: Some(secrets.join("nomad_token")),
        ..Options::default()
    };
    let inside = Nomad::new(options).expect("good options");
    let seen = until("an answer by the socket", async || inside.nodes().await.ok()).await;
    assert_eq!(seen.len(), 3);
    tidy(cluster, &nomad, &["own"]).await;
}
