//! Where the autoscalers run.

use crate::ledgers::{Ground, join};
use autoscaler_consul::{Consul, Options};
use autoscaler_leader::{Answer, Request, SessionId};
use fleet::{ErrorClass, InstanceId};
use std::collections::BTreeMap;

const EAST: &str = "i-0aaaaaaaaaaaaaaa1";
const WEST: &str = "i-0bbbbbbbbbbbbbbb2";

fn peers(of: &[(&str, &SessionId)]) -> BTreeMap<InstanceId, SessionId> {
    of.iter().map(|(id, session)| (InstanceId::from(*id), (*session).clone())).collect()
}

/// A member that says where it is.
async fn member(ground: &Ground, name: &str, at: &str) -> (Consul, SessionId) {
    let consul = ground.client(name);
    let session = join(&consul).await;
    assert_eq!(consul.say_where(&at.into(), &session).await, Ok(true));
    (consul, session)
}

#[tokio::test]
async fn each_member_says_where_it_runs_until_it_ends_however_it_ends() {
    let ground = Ground::new();
    assert_eq!(ground.client("nobody").read_peers().await, Ok(BTreeMap::new()));
    let (east, of_east) = member(&ground, "east", EAST).await;
    let (west, of_west) = member(&ground, "west", WEST).await;
    let both = peers(&[(EAST, &of_east), (WEST, &of_west)]);
    assert_eq!(east.read_peers().await, Ok(both.clone()));
    assert_eq!(west.read_peers().await, Ok(both.clone()));
    assert_eq!(west.say_where(&WEST.into(), &of_west).await, Ok(true), "again");
    assert_eq!(east.say_where(&WEST.into(), &of_east).await, Ok(false), "another's");
    assert_eq!(east.read_peers().await, Ok(both));

    // Told to stop.
    let request = Request::Withdraw { session: Some(of_west) };
    assert_eq!(west.answer(&request).await, Answer::Withdrawn(Ok(())));
    assert_eq!(east.read_peers().await, Ok(peers(&[(EAST, &of_east)])));
    let keys = ground.server.call("GET", "/v1/kv/muster-autoscaler/at/?keys", &serde_json::Value::Null);
    assert_eq!(keys, serde_json::json!([format!("muster-autoscaler/at/{EAST}")]), "nothing is left behind");

    // Its session ends, as when its check is fed no more; once the lock delay is over, it says so again.
    ground.server.call("PUT", &format!("/v1/session/destroy/{of_east}"), &serde_json::Value::Null);
    assert_eq!(east.read_peers().await, Ok(BTreeMap::new()));
    let again = join(&east).await;
    // The delay takes as long as a check lasts that nobody feeds.
    while !east.say_where(&EAST.into(), &again).await.expect("it may") {
        assert!(matches!(east.answer(&Request::Renew).await, Answer::Renewed(Ok(_))));
    }
    assert_eq!(east.read_peers().await, Ok(peers(&[(EAST, &again)])));
}

#[tokio::test]
async fn what_is_no_member_s_key_is_left_alone_and_the_number_is_bounded() {
    let ground = Ground::new();
    let (east, of_east) = member(&ground, "east", EAST).await;
    for id in 0..70 {
        assert_eq!(east.say_where(&format!("i-0{id:02}").as_str().into(), &of_east).await, Ok(true));
    }
    let others = ["muster-autoscaler/at/", "muster-autoscaler/att", "muster-autoscaler/ledger/web"];
    for key in others {
        ground.server.call("PUT", &format!("/v1/kv/{key}"), &serde_json::json!("x"));
    }
    let seen = east.read_peers().await.expect("it may");
    assert_eq!((seen.len(), seen.get(&InstanceId::from("i-000"))), (64, Some(&of_east)));
    for key in others {
        let answer = ground.server.try_call("GET", &format!("/v1/kv/{key}"), "").expect("an answer");
        assert_eq!(answer.status, 200, "{key}");
    }
}

#[tokio::test]
async fn who_may_not_read_or_whom_nobody_answers_learns_nothing_and_not_that_nobody_is_there() {
    let ground = Ground::new();
    let (east, session) = member(&ground, "east", EAST).await;
    std::fs::write(&ground.token_file, "11111111-2222-3333-4444-555555555555").expect("a token file");
    assert_eq!(east.read_peers().await.map_err(|error| error.class()), Err(ErrorClass::Denied));
    let said = east.say_where(&EAST.into(), &session).await;
    assert_eq!(said.map_err(|error| error.class()), Err(ErrorClass::Denied));
    let nobody = Consul::new(Options::new("http://127.0.0.1:1", "one")).expect("options make sense");
    assert_eq!(nobody.read_peers().await.map_err(|error| error.class()), Err(ErrorClass::Transient));
}
