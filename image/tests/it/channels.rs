//! Channels.

use crate::ground::{Dying, Ground, attempt, settled, stable, wanted};
use fleet::ErrorClass;
use fleet_cloud::{FaultKind, HttpFault};
use muster_image::account::Account;
use muster_image::channel::{Changed, ChannelError, KEPT, Wanted, change, look};
use std::sync::Arc;

/// Somebody else changes it: everybody has a budget of their own.
async fn put_by_another(ground: &Ground, image: &str) -> Changed {
    put(ground, &ground.account().await, image).await.expect("changed")
}

async fn put(ground: &Ground, account: &dyn Account, image: &str) -> Result<Changed, ChannelError> {
    change(account, &stable(), &wanted(image), None, &attempt(), ground.now()).await
}

#[tokio::test]
async fn a_channel_goes_forward_and_back_and_keeps_a_bounded_journal() {
    let ground = Ground::new().await;
    let account = ground.account().await;
    assert_eq!(settled(&account, &stable()).await, None);
    for number in 1..=25 {
        let changed = put_by_another(&ground, &format!("ami-{number}")).await;
        assert_eq!((changed.entry.generation, changed.already), (number, false));
    }
    assert_eq!(settled(&account, &stable()).await.as_deref(), Some("ami-25"));
    let seen = look(&account, &stable()).await.expect("seen");
    assert_eq!(u64::try_from(seen.journal.entries().len()).expect("few"), KEPT);
    assert_eq!(seen.journal.entries()[0].generation, 6);

    let back =
        change(&account, &stable(), &Wanted::Back, None, &attempt(), ground.now()).await.expect("back");
    assert_eq!(back.entry.image, "ami-24");
    assert_eq!(settled(&account, &stable()).await.as_deref(), Some("ami-24"));
    let refused = put(&ground, &account, "ami-25").await.expect_err("it was taken back");
    assert!(matches!(refused, ChannelError::Refused(_)), "{refused}");
    assert!(put(&ground, &account, "ami-24").await.expect("no failure").already);
}

/// Of all who saw the same channel one changes it; the others learn who.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_promoters_that_race_one_wins() {
    let ground = Arc::new(Ground::new().await);
    put(&ground, &ground.account().await, "ami-0").await.expect("changed");
    let mut racers = Vec::new();
    for number in 1..=8 {
        let ground = Arc::clone(&ground);
        racers.push(tokio::spawn(async move {
            let account = ground.account().await;
            let image = format!("ami-{number}");
            // All of them took the channel to be at the same image.
            change(&account, &stable(), &wanted(&image), Some("ami-0"), &attempt(), ground.now()).await
        }));
    }
    let mut won = Vec::new();
    for racer in racers {
        match racer.await.expect("it ends") {
            Ok(changed) => won.push(changed.entry.image),
            Err(error) => assert_eq!(error.class(), ErrorClass::Conflict, "{error:?}"),
        }
    }
    let account = ground.account().await;
    let [winner] = &won[..] else { panic!("one wins: {won:?}") };
    assert_eq!(settled(&account, &stable()).await.as_ref(), Some(winner));
    let seen = look(&account, &stable()).await.expect("seen");
    let images: Vec<&str> = seen.journal.entries().iter().map(|entry| entry.image.as_str()).collect();
    assert_eq!(images, ["ami-0", winner.as_str()]);
}

/// Killed before or after any of its calls, and done again: once, and as if nothing had been.
#[tokio::test]
async fn a_change_that_is_cut_short_anywhere_is_taken_up() {
    for last_takes_effect in [false, true] {
        for calls in 0.. {
            let ground = Ground::new().await;
            let account = ground.account().await;
            put(&ground, &account, "ami-1").await.expect("changed");
            let dying = Dying::after(ground.account().await, calls, last_takes_effect);
            if put(&ground, &dying, "ami-2").await.is_ok() {
                assert!(calls >= 5, "it takes more calls than {calls}");
                break;
            }
            let seen = look(&account, &stable()).await.expect("seen");
            let done = seen.journal.current().is_some_and(|entry| entry.image == "ami-2");
            let again = put(&ground, &account, "ami-2").await.expect("it can be done again");
            assert_eq!(again.already, done, "after {calls} calls");
            assert_eq!(again.entry.generation, 2, "once, after {calls} calls");
            assert_eq!(settled(&account, &stable()).await.as_deref(), Some("ami-2"));
        }
    }
}

/// What one leaves half done, another takes up even where it has nothing to change itself, or may not.
#[tokio::test]
async fn whoever_comes_next_takes_up_what_was_left() {
    for wanted_next in [wanted("ami-2"), Wanted::Back] {
        let ground = Ground::new().await;
        let account = ground.account().await;
        // The first change of all, killed after its entry: there is nothing to go back to.
        let mut calls = 0;
        loop {
            let dying = Dying::after(ground.account().await, calls, true);
            // Cut short on purpose.
            let _ = put(&ground, &dying, "ami-2").await;
            let seen = look(&account, &stable()).await.expect("seen");
            if seen.journal.current().is_some() {
                assert!(!seen.is_settled(), "the parameter is behind");
                break;
            }
            calls += 1;
        }
        let next = change(&account, &stable(), &wanted_next, None, &attempt(), ground.now()).await;
        assert_eq!(next.is_ok(), wanted_next != Wanted::Back);
        assert_eq!(settled(&account, &stable()).await.as_deref(), Some("ami-2"));
    }
}

/// A slow writer's parameter comes after a faster one's: whoever is slow looks again.
#[tokio::test]
async fn a_parameter_that_was_set_back_is_mended_by_the_next_change() {
    let ground = Ground::new().await;
    let account = ground.account().await;
    put(&ground, &account, "ami-1").await.expect("changed");
    put(&ground, &account, "ami-2").await.expect("changed");
    account.set_parameter(&stable().parameter(), "ami-1", "a write that was under way").await.expect("set");
    assert!(!look(&account, &stable()).await.expect("seen").is_settled());
    assert!(put(&ground, &account, "ami-2").await.expect("no failure").already);
    assert_eq!(settled(&account, &stable()).await.as_deref(), Some("ami-2"));
}

#[tokio::test]
async fn an_entry_by_somebody_who_was_frozen_for_long_changes_nothing() {
    let ground = Ground::new().await;
    let account = ground.account().await;
    put(&ground, &account, "ami-1").await.expect("changed");
    let first = look(&account, &stable()).await.expect("seen").journal.entries()[0].clone();
    for number in 2..=30 {
        put_by_another(&ground, &format!("ami-{number}")).await;
    }
    // Its number is free again, and so it is written.
    let text = serde_json::to_string(&first).expect("JSON");
    account.create_parameter(&stable().entry(1), &text, "").await.expect("made");
    assert_eq!(settled(&account, &stable()).await.as_deref(), Some("ami-30"));
    put(&ground, &account, "ami-31").await.expect("changed");
    assert_eq!(account.parameter(&stable().entry(1)).await.expect("asked"), None, "it is gone");
}

/// An answer that is lost is no reason to do a thing twice, nor to say that somebody else did it.
#[tokio::test]
async fn lost_answers_and_throttling_change_a_channel_once() {
    let lost = |kind: FaultKind| HttpFault { times: Some(1), ..HttpFault::new(kind, &["PutParameter"]) };
    for fault in [
        lost(FaultKind::CloseAfter),
        lost(FaultKind::FailAfter),
        lost(FaultKind::CutAnswer),
        lost(FaultKind::CloseBefore),
        lost(FaultKind::Throttle),
        HttpFault { times: Some(2), ..lost(FaultKind::CloseAfter) },
        HttpFault { times: Some(1), ..HttpFault::new(FaultKind::Throttle, &["GetParametersByPath"]) },
        HttpFault { times: Some(1), ..HttpFault::new(FaultKind::FailAfter, &["GetParameter"]) },
    ] {
        let ground = Ground::new().await;
        let account = ground.account().await;
        put(&ground, &account, "ami-1").await.expect("changed");
        ground.server.set_faults(vec![fault.clone()]);
        let changed =
            put(&ground, &account, "ami-2").await.unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert_eq!(changed.entry.generation, 2, "{fault:?}");
        assert_eq!(settled(&account, &stable()).await.as_deref(), Some("ami-2"), "{fault:?}");
        assert_eq!(look(&account, &stable()).await.expect("seen").journal.entries().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn who_may_not_is_told_and_nothing_changes() {
    let ground = Ground::new().await;
    let account = ground.account().await;
    put(&ground, &account, "ami-1").await.expect("changed");
    ground.server.set_faults(vec![HttpFault::new(FaultKind::Deny, &["PutParameter"])]);
    let refused = put(&ground, &account, "ami-2").await.expect_err("denied");
    assert_eq!(refused.class(), ErrorClass::Denied);
    ground.server.set_faults(Vec::new());
    assert_eq!(settled(&account, &stable()).await.as_deref(), Some("ami-1"));
}
