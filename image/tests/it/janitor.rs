//! The janitor.

use crate::ground::{Dying, Ground, attempt, stable, wanted};
use fleet::ErrorClass;
use fleet_aws::Aws;
use fleet_cloud::{FaultKind, HttpFault, ImageSpec};
use fleet_sim::{FleetRequest, FleetSpec, WorldSpec};
use muster_image::account::Account;
use muster_image::channel::{Channel, change};
use muster_image::janitor::{self, Carried, KIND, Keep, Outcome, Plan, Rules, Verdict};
use std::collections::BTreeMap;

/// Nothing is kept for being new.
fn rules() -> Rules {
    Rules { newest: 0, ..Rules::default() }
}

async fn plan(ground: &Ground, account: &dyn Account) -> Plan {
    let seen =
        janitor::survey(account, "/muster/images", Some("123456789012".to_owned())).await.expect("seen");
    janitor::decide(&seen, &rules(), ground.now())
}

fn verdict<'a>(plan: &'a Plan, image: &str) -> &'a Verdict {
    let decision = plan.images.iter().find(|decision| decision.image == image);
    &decision.unwrap_or_else(|| panic!("{image}: {plan:?}")).verdict
}

async fn ids(account: &Aws) -> Vec<String> {
    account.images(KIND).await.expect("listed").into_iter().map(|image| image.id).collect()
}

async fn snapshots(account: &Aws) -> Vec<String> {
    account.snapshots("muster:commit").await.expect("listed").into_iter().map(|one| one.id).collect()
}

#[tokio::test]
async fn what_nothing_refers_to_is_deprecated_then_removed_and_all_else_stays() {
    // The world's fleet, its instances and its launch template are of the default image of the simulation.
    let request = FleetRequest { target: 1, ..FleetRequest::default() };
    let fleet = FleetSpec { request, initial: Some(1), ..FleetSpec::default() };
    let spec = WorldSpec { fleets: vec![fleet], throttling: false, ..WorldSpec::default() };
    let ground = Ground::of(spec).await;
    let account = ground.account().await;
    let used = FleetRequest::default().image;
    let tags = BTreeMap::from([(KIND.to_owned(), "node".to_owned())]);
    account.tag(&used, &tags).await.expect("tagged");

    let (old, _) = ground.image("node-old", 40, None);
    let (young, _) = ground.image("node-young", 3, None);
    let (waits, _) = ground.image("node-waits", 60, Some(3));
    let (gone, its_snapshot) = ground.image("node-gone", 60, Some(20));
    let (had, _) = ground.image("node-had", 60, Some(20));
    let (channels, _) = ground.image("node-channels", 60, Some(20));
    let others = ImageSpec {
        name: "of-others".into(),
        age_seconds: 9_000_000,
        tags: tags.clone(),
        owner: Some("210987654321".into()),
        ..ImageSpec::default()
    };
    let (others, _) = ground.server.put_image(&others);
    for image in [&had, &channels] {
        change(&account, &stable(), &wanted(image), None, &attempt(), ground.now()).await.expect("changed");
    }

    let planned = plan(&ground, &account).await;
    let keeps = |image: &str| match verdict(&planned, image) {
        Verdict::Keep { why } => why.clone(),
        other => panic!("{image}: {other:?}"),
    };
    let why = keeps(&used);
    assert!(why.iter().any(|why| matches!(why, Keep::Instance { .. })), "{why:?}");
    assert!(why.iter().any(|why| matches!(why, Keep::Template { version: 1, .. })), "{why:?}");
    assert!(matches!(keeps(&young)[..], [Keep::Young { .. }]));
    assert!(matches!(keeps(&waits)[..], [Keep::Waits { .. }]));
    assert_eq!(keeps(&channels), [Keep::Channel { name: "stable".into() }]);
    assert_eq!(keeps(&had), [Keep::History { name: "stable".into(), back: 1 }]);
    assert!(matches!(verdict(&planned, &old), Verdict::Deprecate { .. }));
    assert!(
        planned.images.iter().all(|decision| decision.image != others),
        "another's is not even looked at"
    );

    let done =
        |action, resource: &str| Carried { action, resource: resource.to_owned(), outcome: Outcome::Done };
    let carried = janitor::apply(&account, &planned, ground.now()).await;
    assert_eq!(
        carried,
        [done("deregister", &gone), done("delete_snapshot", &its_snapshot), done("deprecate", &old),]
    );
    let left = ids(&account).await;
    assert!(!left.contains(&gone) && left.contains(&old) && left.contains(&used), "{left:?}");
    assert!(!snapshots(&account).await.contains(&its_snapshot));
    // Its deprecation lies a little ahead; then it waits, and a second run has nothing to do.
    let deprecated = account.image(&old).await.expect("asked").expect("it is there").deprecated;
    assert!(deprecated.is_some());
}

/// Nobody names channels to it: what any has is kept, be they more than a page of a listing holds, or made in a way of somebody's.
#[tokio::test]
async fn what_any_channel_is_at_stays_whoever_made_it() {
    let ground = Ground::new().await;
    let account = ground.account().await;
    let mut kept = BTreeMap::new();
    let keep = |name: &str| [Keep::Channel { name: name.to_owned() }];
    for number in 0..12 {
        let name = format!("canary-{number:02}");
        let channel = Channel::new("/muster/images", &name).expect("a name");
        let (image, _) = ground.image(&name, 60, Some(20));
        change(&account, &channel, &wanted(&image), None, &attempt(), ground.now()).await.expect("changed");
        kept.insert(image, keep(&name));
    }
    // A parameter without a journal, one of a path beneath, and a journal whose parameter never came to be.
    for name in ["By.Hand", "team/stable"] {
        let (image, _) = ground.image(name, 60, Some(20));
        account.set_parameter(&format!("/muster/images/{name}"), &image, "").await.expect("set");
        kept.insert(image, keep(name));
    }
    let unfinished = Channel::new("/muster/images", "unfinished").expect("a name");
    let (image, _) = ground.image("unfinished", 60, Some(20));
    change(&account, &unfinished, &wanted(&image), None, &attempt(), ground.now()).await.expect("changed");
    account.delete_parameter(&unfinished.parameter()).await.expect("deleted");
    kept.insert(image, keep("unfinished"));
    // What is beside the path counts for nothing.
    let (beside, _) = ground.image("beside", 60, Some(20));
    account.set_parameter("/muster/images-of-others", &beside, "").await.expect("set");

    let planned = plan(&ground, &account).await;
    for (image, why) in &kept {
        assert_eq!(*verdict(&planned, image), Verdict::Keep { why: why.to_vec() }, "{image}");
    }
    assert!(matches!(verdict(&planned, &beside), Verdict::Remove { .. }), "{planned:?}");
}

/// Killed after any of its calls, and done again: all that was to go is gone, and nothing else.
#[tokio::test]
async fn a_removal_that_is_cut_short_anywhere_is_taken_up() {
    for calls in 0.. {
        let ground = Ground::new().await;
        let account = ground.account().await;
        let (first, _) = ground.image("node-1", 60, Some(20));
        let (second, _) = ground.image("node-2", 60, Some(20));
        let (stays, its_snapshot) = ground.image("node-3", 1, None);
        let dying = Dying::after(ground.account().await, calls, true);
        let planned = plan(&ground, &account).await;
        let carried = janitor::apply(&dying, &planned, ground.now()).await;
        let whole = carried.iter().all(|one| one.outcome == Outcome::Done);
        let planned = plan(&ground, &account).await;
        let again = janitor::apply(&account, &planned, ground.now()).await;
        assert!(again.iter().all(|one| one.outcome == Outcome::Done), "{again:?}");
        let left = ids(&account).await;
        assert!(!left.contains(&first) && !left.contains(&second), "{left:?}");
        assert_eq!(
            (left, snapshots(&account).await),
            (vec![stays], vec![its_snapshot]),
            "after {calls} calls"
        );
        if whole {
            assert_eq!(calls, 5, "of the last call one learns only here");
            assert!(again.is_empty(), "{again:?}");
            return;
        }
    }
}

/// Where anything cannot be looked at, nothing is decided.
#[tokio::test]
async fn what_cannot_be_seen_whole_decides_nothing() {
    for action in [
        "DescribeImages",
        "DescribeSnapshots",
        "DescribeImageAttribute",
        "DescribeInstances",
        "DescribeLaunchTemplates",
        "DescribeLaunchTemplateVersions",
        "DescribeSpotFleetRequests",
        "DescribeFleets",
        "GetParametersByPath",
        "GetParameter",
    ] {
        // Its launch template names a parameter, which is read.
        let image = "resolve:ssm:/muster/images/stable".to_owned();
        let request = FleetRequest { image, ..FleetRequest::default() };
        let fleet = FleetSpec { request, ..FleetSpec::default() };
        let spec = WorldSpec { fleets: vec![fleet], throttling: false, ..WorldSpec::default() };
        let ground = Ground::of(spec).await;
        let account = ground.account().await;
        ground.image("node-1", 60, Some(20));
        let refuse = FaultKind::Refuse { status: 403, code: "UnauthorizedOperation".into() };
        ground.server.set_faults(vec![HttpFault::new(refuse, &[action])]);
        let seen = janitor::survey(&account, "/muster/images", None).await;
        let error = seen.expect_err(action);
        assert_eq!(error.class(), ErrorClass::Denied, "{action}: {error:?}");
    }
}

/// A failure of one removal keeps none of the others from being done; what EC2 does not let go is told as such.
#[tokio::test]
async fn removals_are_done_as_far_as_they_can_be() {
    let ground = Ground::new().await;
    let account = ground.account().await;
    ground.image("node-1", 60, Some(20));
    let (second, _) = ground.image("node-2", 60, Some(20));
    let planned = plan(&ground, &account).await;
    let once = |kind| HttpFault { times: Some(1), ..HttpFault::new(kind, &["DeregisterImage"]) };
    ground.server.set_faults(vec![once(FaultKind::Deny)]);
    let carried = janitor::apply(&account, &planned, ground.now()).await;
    let [failed, gone, snapshot] = &carried[..] else { panic!("{carried:?}") };
    assert!(matches!(&failed.outcome, Outcome::Failed { class, .. } if class == "denied"), "{failed:?}");
    assert_eq!(
        (gone.resource.as_str(), &gone.outcome, &snapshot.outcome),
        (second.as_str(), &Outcome::Done, &Outcome::Done)
    );
    // A lost answer: done again by itself, for it comes to the same.
    ground.server.set_faults(vec![once(FaultKind::CloseAfter)]);
    let planned = plan(&ground, &account).await;
    let carried = janitor::apply(&account, &planned, ground.now()).await;
    assert!(carried.len() == 2 && carried.iter().all(|one| one.outcome == Outcome::Done), "{carried:?}");
}
