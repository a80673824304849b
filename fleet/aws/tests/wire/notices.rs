//! What is sent, and what comes back, where notices are heard: EC2's own marks, and the queue.

use crate::stub::{Reply, Stub, clock, connect, drive};
use fleet::ports::{Cloud as _, Depth, Message, Queue as _, Receipt};
use fleet::{ErrorClass, InstanceId, Notice, NoticeKind, NoticeSource, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

const URL: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/notices";
const VISIBILITY: Duration = Duration::from_secs(30);

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}

#[tokio::test]
async fn spot_requests_and_scheduled_events_become_notices() {
    use NoticeKind::{ScheduledEvent, SpotInterruption};

    let requests = include_str!("bodies/describe_spot_instance_requests.xml");
    let statuses = include_str!("bodies/describe_instance_status.xml");
    let stub = Stub::answering([requests, statuses].map(Reply::xml)).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let marks = drive(&clock, aws.marks()).await.expect("marks");
    let notice = |id: &str, kind, given, deadline| Notice {
        instance: InstanceId::new(id),
        kind,
        source: NoticeSource::Ec2,
        at: at(given),
        deadline: Some(at(deadline)),
    };
    let expected = [
        // Marked: two minutes are left from then.
        notice("i-0123456789abcdef0", SpotInterruption, "2026-03-01T11:59:00Z", "2026-03-01T12:01:00Z"),
        // Taken back already.
        notice("i-0123456789abcdef1", SpotInterruption, "2026-03-01T11:40:00Z", "2026-03-01T11:40:00Z"),
        // The earliest of two that lie ahead; the one that was completed does not count.
        notice("i-0123456789abcdef3", ScheduledEvent, "2026-03-01T12:00:00Z", "2026-03-05T08:00:00Z"),
    ];
    assert_eq!(marks, expected);
    assert_eq!(stub.actions(), ["DescribeSpotInstanceRequests", "DescribeInstanceStatus"]);
    let [requests, statuses] = &stub.requests()[..] else { panic!("two requests") };
    assert_eq!(requests.field("Filter.1.Name").as_deref(), Some("status-code"));
    assert_eq!(requests.field("Filter.1.Value.1").as_deref(), Some("marked-for-termination"));
    assert_eq!(statuses.field("Filter.1.Name").as_deref(), Some("event.code"));
    assert_eq!(statuses.field("IncludeAllInstances").as_deref(), Some("true"));
}

fn sqs(status: u16, headers: &'static str, body: &Value) -> Reply {
    Reply::Whole(status, headers, body.to_string().into_bytes())
}
fn ok(body: &Value) -> Reply {
    sqs(200, "content-type: application/x-amz-json-1.0\r\n", body)
}

#[tokio::test]
async fn messages_are_received_with_all_that_is_needed_of_them() {
    let message = json!({
        "MessageId": "5fea7756-0ea4-451a-a703-a558b933e274",
        "ReceiptHandle": "AQEBwJnKyrHigUMZj6rYigCg",
        "MD5OfBody": "fafb00f5732ab283681e124bf8747ed1",
        "Body": "{}",
        "Attributes": {"SentTimestamp": "1772366399123", "ApproximateReceiveCount": "3"},
    });
    let bare = json!({"MessageId": "m2", "ReceiptHandle": "r2", "Body": "x"});
    let receiptless = json!({"MessageId": "m3", "Body": "x"});
    let stub =
        Stub::answering([ok(&json!({"Messages": [message, bare, receiptless]})), ok(&json!({}))]).await;
    let clock = clock();
    let queue = connect(&stub, &clock).await.queue(URL);
    assert_eq!(queue.name(), "notices");
    let received = drive(&clock, queue.receive(Duration::from_secs(20), VISIBILITY)).await;
    let expected = |id: &str, receipt: &str, body: &str, sent, deliveries| Message {
        id: id.into(),
        receipt: Receipt(receipt.to_owned()),
        body: body.to_owned(),
        sent: at(sent),
        deliveries,
    };
    let expected = vec![
        expected(
            "5fea7756-0ea4-451a-a703-a558b933e274",
            "AQEBwJnKyrHigUMZj6rYigCg",
            "{}",
            "2026-03-01T11:59:59.123Z",
            3,
        ),
        expected("m2", "r2", "x", "2026-03-01T12:00:00Z", 1),
    ];
    assert_eq!(received, Ok(expected));
    assert_eq!(drive(&clock, queue.receive(Duration::ZERO, VISIBILITY)).await, Ok(vec![]));
    let request = &stub.requests()[0];
    assert!(request.headers.to_ascii_lowercase().contains("x-amz-target: amazonsqs.receivemessage"));
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    for (name, value) in [
        ("QueueUrl", json!(URL)),
        ("MaxNumberOfMessages", json!(10)),
        ("WaitTimeSeconds", json!(20)),
        ("VisibilityTimeout", json!(30)),
        ("MessageSystemAttributeNames", json!(["SentTimestamp", "ApproximateReceiveCount"])),
    ] {
        assert_eq!(body[name], value, "{name}");
    }
}

#[tokio::test]
async fn deletions_tell_which_of_them_failed() {
    let answer = json!({
        "Successful": [{"Id": "0"}],
        "Failed": [{"Id": "1", "SenderFault": true, "Code": "ReceiptHandleIsInvalid", "Message": "no"}],
    });
    let stub = Stub::answering([ok(&answer)]).await;
    let clock = clock();
    let queue = connect(&stub, &clock).await.queue(URL);
    let receipts = ["good", "bad"].map(|receipt| Receipt(receipt.to_owned()));
    let left = drive(&clock, queue.delete(&receipts)).await;
    assert_eq!(left, Ok(vec![Receipt("bad".to_owned())]));
    assert_eq!(drive(&clock, queue.delete(&[])).await, Ok(vec![]), "costs no call");
    let eleven = vec![Receipt("r".to_owned()); 11];
    let error = drive(&clock, queue.delete(&eleven)).await.expect_err("too many");
    assert_eq!((error.class, stub.requests().len()), (ErrorClass::Malformed, 1));
}

#[tokio::test]
async fn a_queue_tells_how_much_waits_in_it() {
    let attributes =
        json!({"ApproximateNumberOfMessages": "12", "ApproximateNumberOfMessagesNotVisible": "3"});
    let stub = Stub::answering([ok(&json!({"Attributes": attributes}))]).await;
    let clock = clock();
    let queue = connect(&stub, &clock).await.queue(URL);
    assert_eq!(drive(&clock, queue.depth()).await, Ok(Depth { visible: 12, in_flight: 3 }));
}

#[tokio::test]
async fn a_lost_answer_of_a_queue_is_asked_for_again_and_its_errors_have_classes() {
    const MISSING: &str = "content-type: application/x-amz-json-1.0\r\nx-amzn-query-error: \
                           AWS.SimpleQueueService.NonExistentQueue;Sender\r\n";
    let no_queue = json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue"});
    let denied =
        json!({"__type": "com.amazon.coral.service#AccessDeniedException", "message": "not allowed"});
    let over = json!({"__type": "com.amazonaws.sqs#OverLimit", "message": "too many in flight"});
    let json_type = "content-type: application/x-amz-json-1.0\r\n";
    let stub = Stub::answering([
        Reply::Closed,
        Reply::Cut(200, b"{\"Messages\": []}".to_vec()),
        sqs(400, json_type, &over),
        ok(&json!({})),
        sqs(400, MISSING, &no_queue),
        sqs(400, json_type, &denied),
    ])
    .await;
    let clock = clock();
    let queue = connect(&stub, &clock).await.queue(URL);
    assert_eq!(drive(&clock, queue.receive(Duration::ZERO, VISIBILITY)).await, Ok(vec![]));
    for expected in [ErrorClass::NotFound, ErrorClass::Denied] {
        let error = drive(&clock, queue.receive(Duration::ZERO, VISIBILITY)).await.expect_err("refused");
        assert_eq!((error.class, error.service.as_str()), (expected, "sqs"), "{error}");
    }
}
