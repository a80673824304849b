//! Parameters, tags and credentials.

use crate::cloud::{Cloud, wall};
use bootstrap_aws::{Aws, AwsError, AwsOptions, CallerIdentity, Credentials};
use bootstrap_core::Failure;
use fleet::ErrorClass;
use fleet_cloud::FaultKind;

#[tokio::test]
async fn all_parameters_beneath_a_path_come_decrypted_page_by_page() {
    let cloud = Cloud::new().await;
    for number in 0..23 {
        cloud.put(&format!("/muster/web/{}/p{number:02}", number % 3), &format!("planted-{number}")).await;
    }
    cloud.put("/muster/other", "elsewhere").await;
    cloud.put("/muster/webs/p", "elsewhere").await;
    let found = cloud.aws().parameters("/muster/web").await.expect("they are there");
    assert_eq!(found.len(), 23);
    let one = found.iter().find(|one| one.name == "/muster/web/1/p07").expect("it is among them");
    assert_eq!((one.value.expose(), one.version), ("planted-7", 1));
    assert!(!format!("{found:?}").contains("planted"));
    assert_eq!(cloud.aws().parameters("/muster/none/").await, Ok(vec![]));
}

#[tokio::test]
async fn a_path_with_more_than_a_thousand_parameters_is_another_one_than_was_meant() {
    let cloud = Cloud::new().await;
    for number in 0..=1000 {
        cloud.put(&format!("/all/p{number}"), "v").await;
    }
    let error = cloud.aws().parameters("/all").await.expect_err("too many");
    assert!(matches!(&error, AwsError::TooMuch { limit, .. } if limit == "1000 parameters"), "{error}");
    assert!(error.is_lasting());
}

#[tokio::test]
async fn what_ssm_refuses_is_told_with_the_path() {
    let cloud = Cloud::new().await;
    let check = async |expect: ErrorClass, lasting: bool| {
        let error = cloud.aws().parameters("/muster/web").await.expect_err("a fault");
        assert_eq!((error.class(), error.is_lasting()), (expect, lasting), "{error}");
        assert!(error.to_string().contains("/muster/web"), "{error}");
        assert_eq!(Failure::from(error).class, expect);
    };
    let action = "GetParametersByPath";
    cloud.fault(FaultKind::Deny, action);
    check(ErrorClass::Denied, false).await;
    cloud.fault(FaultKind::Throttle, action);
    check(ErrorClass::Throttled { retry_after: None }, false).await;
    cloud.fault(FaultKind::Refuse { status: 500, code: "InternalServerError".into() }, action);
    check(ErrorClass::Transient, false).await;
    cloud.fault(FaultKind::CloseBefore, action);
    check(ErrorClass::Transient, false).await;
    cloud.fault(FaultKind::CutAnswer, action);
    check(ErrorClass::Transient, false).await;
    cloud.server.set_faults(Vec::new());
    let error = cloud.aws().parameters("muster").await.expect_err("no path");
    assert_eq!((error.class(), error.is_lasting()), (ErrorClass::Malformed, true), "{error}");
    let wrong = Aws::new(cloud.static_key("planted-key")).expect("options");
    let error = wrong.parameters("/muster/web").await.expect_err("another key");
    assert_eq!(error.class(), ErrorClass::Denied, "{error}");
    assert!(!format!("{error} {error:?}").contains("planted"), "{error:?}");
}

#[tokio::test]
async fn an_instance_gets_its_tag() {
    let cloud = Cloud::new().await;
    let tags = || {
        let world = cloud.world.lock().expect("nobody panicked");
        world
            .shown_instances()
            .into_iter()
            .find(|one| one.id.as_str() == cloud.instance)
            .expect("it lives")
            .tags
    };
    for _ in 0..2 {
        cloud.aws().tag_self(&cloud.instance, "muster:ready", "yes & 100 %", wall()).await.expect("it may");
        assert_eq!(tags().get("muster:ready").map(String::as_str), Some("yes & 100 %"));
    }
    cloud.fault(FaultKind::Deny, "CreateTags");
    let error = cloud.aws().tag_self(&cloud.instance, "k", "v", wall()).await.expect_err("a fault");
    assert_eq!(error.class(), ErrorClass::Denied, "{error}");
    assert!(matches!(&error, AwsError::Refused { code, .. } if code == "UnauthorizedOperation"), "{error:?}");
    cloud.fault(FaultKind::CloseBefore, "CreateTags");
    let error = cloud.aws().tag_self(&cloud.instance, "k", "v", wall()).await.expect_err("a fault");
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    // It is done, and half of the answer that says so arrives, under a good status.
    cloud.fault(FaultKind::CutAnswer, "CreateTags");
    let error = cloud.aws().tag_self(&cloud.instance, "k", "v", wall()).await.expect_err("a fault");
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    cloud.server.set_faults(Vec::new());
    let error = cloud.aws().tag_self("i-00000000000000000", "k", "v", wall()).await.expect_err("no such");
    assert_eq!(error.class(), ErrorClass::NotFound, "{error}");
}

#[tokio::test]
async fn a_role_that_is_not_there_and_a_service_that_is_away_are_told_apart() {
    let cloud = Cloud::new().await;
    let error = |metadata: String| async {
        let options = AwsOptions { credentials: Credentials::Role { metadata }, ..cloud.options() };
        Aws::new(options).expect("options").sign_caller_identity(&CallerIdentity::default(), wall()).await
    };
    let gone = error(format!("{}/_imds/i-00000000000000000", cloud.server.endpoint())).await;
    assert!(matches!(gone, Err(AwsError::Credentials { .. })), "{gone:?}");
    let away = error("http://127.0.0.1:1".into()).await;
    assert!(matches!(away, Err(AwsError::Credentials { .. })), "{away:?}");
    let options =
        AwsOptions { credentials: Credentials::Role { metadata: "no address".into() }, ..cloud.options() };
    assert!(matches!(Aws::new(options), Err(AwsError::Metadata { .. })));
}
