//! Publishing.

use crate::ground::{Dying, Ground, attempt, settled, stable};
use fleet::{ErrorClass, Timestamp};
use fleet_cloud::ImageSpec;
use muster_image::publish::{Publication, PublishError, publish};
use muster_image::verify::{Facts, Report};
use std::collections::{BTreeMap, BTreeSet};

fn report(passed: bool, playbook: &str) -> Report {
    Report {
        passed,
        at: Timestamp::from_secs(1_800_000_000),
        image: "node".into(),
        commit: "0123abc".into(),
        playbook: playbook.into(),
        programs: BTreeMap::new(),
        checks: Vec::new(),
        facts: Facts::default(),
    }
}

fn publication(image: &str) -> Publication {
    Publication {
        image: image.to_owned(),
        accounts: BTreeSet::from(["210987654321".to_owned()]),
        tags: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        report: Some(report(true, "p1")),
        expected: None,
        again: false,
    }
}

#[tokio::test]
async fn what_is_published_is_tagged_shared_and_in_its_channel_whenever_its_publisher_was_killed() {
    for calls in 0.. {
        let ground = Ground::new().await;
        let (image, _) = ground.image("node-1", 0, None);
        let account = ground.account().await;
        let dying = Dying::after(ground.account().await, calls, true);
        let done = publish(&dying, &stable(), &publication(&image), &attempt(), ground.now()).await.is_ok();
        publish(&account, &stable(), &publication(&image), &attempt(), ground.now())
            .await
            .expect("published");
        assert_eq!(settled(&account, &stable()).await.as_ref(), Some(&image));
        assert_eq!(account.shared_with(&image).await.expect("asked"), publication(&image).accounts);
        let tags = account.image(&image).await.expect("asked").expect("it is there").tags;
        assert_eq!(tags.get("team").map(String::as_str), Some("web"));
        assert_eq!(tags.get("muster:verified").map(String::as_str), Some("2027-01-15T08:00:00Z"));
        assert_eq!(tags.get("muster:commit").map(String::as_str), Some("0123abc"), "what was there stays");
        if done {
            assert!(calls >= 7, "it takes more calls than {calls}");
            return;
        }
    }
}

#[tokio::test]
async fn what_did_not_pass_or_is_not_there_is_not_published() {
    let ground = Ground::new().await;
    let (image, _) = ground.image("node-1", 0, None);
    let others =
        ImageSpec { name: "others".into(), owner: Some("210987654321".into()), ..ImageSpec::default() };
    let (others, _) = ground.server.put_image(&others);
    let account = ground.account().await;
    let refused = async |publication: Publication| {
        publish(&account, &stable(), &publication, &attempt(), ground.now()).await.expect_err("refused")
    };
    let with = |report| Publication { report: Some(report), ..publication(&image) };
    assert!(matches!(refused(with(report(false, "p1"))).await, PublishError::DidNotPass));
    assert!(matches!(refused(with(report(true, "p2"))).await, PublishError::AnotherPlaybook { .. }));
    for gone in ["ami-0000000000000000a", &others] {
        let error = refused(publication(gone)).await;
        assert_eq!(error.class(), ErrorClass::NotFound, "{error:?}");
    }
    assert_eq!(settled(&account, &stable()).await, None);
    assert_eq!(account.shared_with(&image).await.expect("asked"), BTreeSet::new());
}
