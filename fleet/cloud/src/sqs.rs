//! SQS: standard queues on the world's clock. One of them gets the world's EventBridge messages.

use crate::eventbridge;
use crate::server::stopped;
use crate::service::Operation;
use crate::shared::{Context, Failure, Shared, locked};
use crate::wire::{AwsError, Data, map};
use fleet::Timestamp;
use fleet_sim::World;
use http::StatusCode;
use md5::{Digest, Md5};
use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;

/// The one operation that waits.
pub(crate) const RECEIVE_MESSAGE: &str = "ReceiveMessage";

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_gate("CreateQueue", create_queue),
    Operation::by_gate("GetQueueUrl", get_queue_url),
    Operation::by_gate("GetQueueAttributes", get_queue_attributes),
    Operation::by_gate("SendMessage", send_message),
    Operation::by_gate(RECEIVE_MESSAGE, receive_message),
    Operation::by_gate("DeleteMessage", delete_message),
    Operation::by_gate("DeleteMessageBatch", delete_message_batch),
];

/// The largest message, in bytes.
const MAX_MESSAGE: usize = 1024 * 1024;
/// The most messages of a queue; the oldest are dropped first, as SQS drops those that get too old.
const MAX_MESSAGES: usize = 10_000;
/// The most queues.
const MAX_QUEUES: usize = 1000;
/// The most messages of one answer, and the most entries of a batch.
const MAX_AT_ONCE: usize = 10;

/// All queues.
#[derive(Debug)]
pub(crate) struct Queues {
    by_name: BTreeMap<String, Queue>,
    /// The queue that gets the world's events.
    events: String,
    /// The place of the next event in the world's queue.
    place: u64,
    messages: u64,
}

#[derive(Debug)]
struct Queue {
    /// As CreateQueue gave them, by name.
    attributes: BTreeMap<String, String>,
    created: Timestamp,
    messages: VecDeque<Message>,
}

#[derive(Debug)]
struct Message {
    number: u64,
    body: String,
    sent: Timestamp,
    /// From here on it can be received; moved on by each receipt.
    visible: Timestamp,
    receipts: u64,
    first_received: Option<Timestamp>,
}

impl Queues {
    pub fn new(events: &str) -> Self {
        let mut queues = Self { by_name: BTreeMap::new(), events: events.to_owned(), place: 0, messages: 0 };
        queues.by_name.insert(events.to_owned(), Queue::new(BTreeMap::new(), Timestamp::EPOCH));
        queues
    }

    /// Takes what has happened in the world since last time into the queue of events.
    fn take_events(&mut self, world: &World) {
        let (region, account) = (world.spec().region.as_str(), world.spec().account.as_str());
        for event in world.events_since(self.place) {
            self.place = event.sequence + 1;
            self.messages += 1;
            if let Some(queue) = self.by_name.get_mut(&self.events) {
                let body = eventbridge::message(event, region, account);
                queue.put(self.messages, body, event.delivered, event.delivered);
            }
        }
    }

    /// Puts messages into the queue of events, as the world's own are.
    pub fn send(&mut self, bodies: impl IntoIterator<Item = String>, now: Timestamp) {
        for body in bodies {
            self.messages += 1;
            if let Some(queue) = self.by_name.get_mut(&self.events) {
                queue.put(self.messages, body, now, now);
            }
        }
    }

    /// The queue of a URL, which may name any host.
    fn of_url(&mut self, input: &Data) -> Result<&mut Queue, AwsError> {
        let url = required(input, "QueueUrl")?;
        let name = url.rsplit('/').next().unwrap_or_default();
        self.by_name.get_mut(name).ok_or_else(no_queue)
    }
}

impl Queue {
    fn new(attributes: BTreeMap<String, String>, created: Timestamp) -> Self {
        Self { attributes, created, messages: VecDeque::new() }
    }
    fn put(&mut self, number: u64, body: String, sent: Timestamp, visible: Timestamp) {
        if self.messages.len() == MAX_MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(Message { number, body, sent, visible, receipts: 0, first_received: None });
    }
    fn seconds(&self, attribute: &str, default: u64) -> Duration {
        Duration::from_secs(
            self.attributes.get(attribute).and_then(|text| text.parse().ok()).unwrap_or(default),
        )
    }
    fn forget_old(&mut self, now: Timestamp) {
        let kept = self.seconds("MessageRetentionPeriod", 345_600);
        // In the order of their sending.
        while self.messages.front().is_some_and(|message| now.since(message.sent) >= kept) {
            self.messages.pop_front();
        }
    }
    fn take(&mut self, now: Timestamp, most: usize, hidden: Duration) -> Vec<Data> {
        self.forget_old(now);
        let visible = self.messages.iter_mut().filter(|message| message.visible <= now);
        visible
            .take(most)
            .map(|message| {
                message.receipts += 1;
                message.visible = now + hidden;
                let first = *message.first_received.get_or_insert(now);
                map([
                    ("MessageId", message.id().into()),
                    ("ReceiptHandle", format!("{}.{}", message.number, message.receipts).into()),
                    ("MD5OfBody", md5_of(&message.body).into()),
                    ("Body", message.body.as_str().into()),
                    (
                        "Attributes",
                        map([
                            ("SenderId", "AIDASSYFHUBOBT7F4XT75".into()),
                            ("SentTimestamp", message.sent.millis().to_string().into()),
                            ("ApproximateReceiveCount", message.receipts.to_string().into()),
                            ("ApproximateFirstReceiveTimestamp", first.millis().to_string().into()),
                        ]),
                    ),
                ])
            })
            .collect()
    }
    /// Deletes by a receipt; one that was deleted already is deleted again.
    fn delete(&mut self, receipt: &str) -> Result<(), AwsError> {
        let number = receipt.split_once('.').and_then(|(number, _)| number.parse::<u64>().ok());
        let number = number.ok_or_else(|| {
            AwsError::new("com.amazonaws.sqs#ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
                .with_query_code("ReceiptHandleIsInvalid")
                .with_status(StatusCode::NOT_FOUND)
        })?;
        // In the order of their numbers.
        if let Ok(place) = self.messages.binary_search_by_key(&number, |message| message.number) {
            self.messages.remove(place);
        }
        Ok(())
    }
}

impl Message {
    fn id(&self) -> String {
        message_id(self.number)
    }
}

fn message_id(number: u64) -> String {
    format!("00000000-0000-4000-9000-{number:012x}")
}

fn md5_of(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

fn required<'a>(input: &'a Data, name: &str) -> Result<&'a str, AwsError> {
    input.get(name).as_str().ok_or_else(|| {
        AwsError::new(
            "com.amazonaws.sqs#MissingParameter",
            format!("The request must contain the parameter {name}."),
        )
        .with_query_code("MissingParameter")
    })
}

fn no_queue() -> AwsError {
    AwsError::new("com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist.")
        .with_query_code("AWS.SimpleQueueService.NonExistentQueue")
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("com.amazonaws.sqs#InvalidParameterValue", message).with_query_code("InvalidParameterValue")
}

/// A number of the request within bounds; `default` where it is not given.
fn bounded(
    input: &Data,
    name: &str,
    range: std::ops::RangeInclusive<u32>,
    default: u32,
) -> Result<u32, AwsError> {
    match input.get(name) {
        Data::Null => Ok(default),
        given => given.as_u32().filter(|number| range.contains(number)).ok_or_else(|| {
            invalid(format!(
                "Value for parameter {name} is invalid. Reason: Must be between {} and {}.",
                range.start(),
                range.end()
            ))
        }),
    }
}

fn url_of(context: &Context<'_>, name: &str) -> String {
    format!("http://{}/{}/{name}", context.host, context.world().spec().account)
}

fn create_queue(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let name = required(input, "QueueName")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 80 || !name.chars().all(legal) {
        // Names of FIFO queues end in `.fifo`: these are not simulated.
        return Err(invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )
        .into());
    }
    let given = input.get("Attributes").entries().iter();
    let attributes: BTreeMap<String, String> =
        given.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let now = context.world().now();
    let url = url_of(context, name);
    let mut queues = locked(&context.shared.queues);
    match queues.by_name.get(name) {
        Some(queue) => {
            let other = attributes.iter().any(|(name, value)| queue.attributes.get(name) != Some(value));
            if other {
                let message =
                    "A queue already exists with the same name and a different value for an attribute";
                return Err(AwsError::new("com.amazonaws.sqs#QueueNameExists", message)
                    .with_query_code("QueueAlreadyExists")
                    .into());
            }
        }
        None if queues.by_name.len() >= MAX_QUEUES => return Err(invalid("too many queues").into()),
        None => {
            queues.by_name.insert(name.to_owned(), Queue::new(attributes, now));
        }
    }
    Ok(map([("QueueUrl", url.into())]))
}

fn get_queue_url(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let name = required(input, "QueueName")?;
    if !locked(&context.shared.queues).by_name.contains_key(name) {
        return Err(no_queue().into());
    }
    Ok(map([("QueueUrl", url_of(context, name).into())]))
}

fn get_queue_attributes(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let world = context.world();
    let now = world.now();
    let mut queues = locked(&context.shared.queues);
    queues.take_events(&world);
    let name = required(input, "QueueUrl")?.rsplit('/').next().unwrap_or_default().to_owned();
    let queue = queues.of_url(input)?;
    queue.forget_old(now);
    let count =
        |test: &dyn Fn(&Message) -> bool| queue.messages.iter().filter(|m| test(m)).count().to_string();
    let arn = format!("arn:aws:sqs:{}:{}:{name}", world.spec().region, world.spec().account);
    let mut all: BTreeMap<&str, String> = BTreeMap::from([
        ("QueueArn", arn),
        ("ApproximateNumberOfMessages", count(&|m| m.visible <= now)),
        ("ApproximateNumberOfMessagesNotVisible", count(&|m| m.visible > now && m.receipts > 0)),
        ("ApproximateNumberOfMessagesDelayed", count(&|m| m.visible > now && m.receipts == 0)),
        ("CreatedTimestamp", queue.created.secs().to_string()),
        ("LastModifiedTimestamp", queue.created.secs().to_string()),
        ("VisibilityTimeout", "30".to_owned()),
        ("MaximumMessageSize", MAX_MESSAGE.to_string()),
        ("MessageRetentionPeriod", "345600".to_owned()),
        ("DelaySeconds", "0".to_owned()),
        ("ReceiveMessageWaitTimeSeconds", "0".to_owned()),
    ]);
    all.extend(queue.attributes.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let wanted = input.get("AttributeNames").texts();
    let shown = all
        .into_iter()
        .filter(|(name, _)| wanted.contains(name) || wanted.contains(&"All"))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    Ok(map([("Attributes", Data::Map(shown))]))
}

fn send_message(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let body = required(input, "MessageBody")?;
    if body.is_empty() || body.len() > MAX_MESSAGE {
        return Err(invalid(
            "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.",
        )
        .into());
    }
    let delay = bounded(input, "DelaySeconds", 0..=900, 0)?;
    let now = context.world().now();
    let mut queues = locked(&context.shared.queues);
    queues.messages += 1;
    let number = queues.messages;
    let queue = queues.of_url(input)?;
    queue.put(number, body.to_owned(), now, now + Duration::from_secs(delay.into()));
    drop(queues);
    context.shared.moved.notify_waiters();
    Ok(map([("MessageId", message_id(number).into()), ("MD5OfMessageBody", md5_of(body).into())]))
}

/// Receives what is there now, without waiting.
fn receive_message(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let most = bounded(input, "MaxNumberOfMessages", 1..=10, 1)?;
    let world = context.world();
    let mut queues = locked(&context.shared.queues);
    queues.take_events(&world);
    let queue = queues.of_url(input)?;
    let hidden = match input.get("VisibilityTimeout") {
        Data::Null => queue.seconds("VisibilityTimeout", 30),
        _ => Duration::from_secs(bounded(input, "VisibilityTimeout", 0..=43_200, 30)?.into()),
    };
    let messages = queue.take(world.now(), usize::try_from(most).unwrap_or(MAX_AT_ONCE), hidden);
    Ok(map([("Messages", if messages.is_empty() { Data::Null } else { Data::List(messages) })]))
}

/// Receives; waits as long as the request says, on the world's clock, for a first message.
pub(crate) async fn poll(
    context: &Context<'_>,
    input: &Data,
    mut stopping: watch::Receiver<bool>,
) -> Result<Data, Failure> {
    let began = context.world().now();
    let default = locked(&context.shared.queues).of_url(input)?.seconds("ReceiveMessageWaitTimeSeconds", 0);
    let wait = match input.get("WaitTimeSeconds") {
        Data::Null => default,
        _ => Duration::from_secs(bounded(input, "WaitTimeSeconds", 0..=20, 0)?.into()),
    };
    loop {
        // Registered before the look, so that what comes in between is not missed.
        let mut moved = pin!(context.shared.moved.notified());
        moved.as_mut().enable();
        let received = receive_message(context, input)?;
        let waited = context.world().now().since(began);
        if !received.get("Messages").is_null() || waited >= wait {
            return Ok(received);
        }
        tokio::select! {
            () = moved => {}
            () = until(context.shared, wait.saturating_sub(waited)) => {}
            () = stopped(&mut stopping) => return Ok(received),
        }
    }
}

/// The rest of a wait; shorter where messages become visible by the mere passing of the world's time.
async fn until(shared: &Shared, rest: Duration) {
    let step = if shared.pace.drives() { rest.min(Duration::from_secs(1)) } else { rest };
    shared.pace.sleep_world(step).await;
}

fn delete_message(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let receipt = required(input, "ReceiptHandle")?;
    locked(&context.shared.queues).of_url(input)?.delete(receipt)?;
    Ok(map([]))
}

fn delete_message_batch(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let entries = input.get("Entries").items();
    if entries.is_empty() || entries.len() > MAX_AT_ONCE {
        let (code, query, message) = if entries.is_empty() {
            (
                "EmptyBatchRequest",
                "AWS.SimpleQueueService.EmptyBatchRequest",
                "There should be at least one DeleteMessageBatchRequestEntry in the request.",
            )
        } else {
            (
                "TooManyEntriesInBatchRequest",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                "Maximum number of entries per request are 10.",
            )
        };
        return Err(AwsError::new(&format!("com.amazonaws.sqs#{code}"), message)
            .with_query_code(query)
            .into());
    }
    let mut queues = locked(&context.shared.queues);
    let queue = queues.of_url(input)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let id = required(entry, "Id")?;
        match queue.delete(required(entry, "ReceiptHandle")?) {
            Ok(()) => successful.push(map([("Id", id.into())])),
            Err(error) => failed.push(map([
                ("Id", id.into()),
                ("SenderFault", true.into()),
                ("Code", "ReceiptHandleIsInvalid".into()),
                ("Message", error.message.into()),
            ])),
        }
    }
    // An empty list is left out of JSON by the service, too; both are required by its model.
    Ok(map([("Successful", Data::List(successful)), ("Failed", Data::List(failed))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(received: &[Data]) -> Vec<&str> {
        received.iter().filter_map(|message| message.get("Body").as_str()).collect()
    }

    #[test]
    fn a_received_message_is_hidden_for_a_while_and_comes_again_unless_deleted() {
        let mut queue = Queue::new(BTreeMap::new(), Timestamp::EPOCH);
        let at = Timestamp::from_secs;
        queue.put(1, "one".into(), at(0), at(0));
        queue.put(2, "two".into(), at(0), at(5));
        let hidden = Duration::from_secs(30);
        let first = queue.take(at(1), 10, hidden);
        assert_eq!(bodies(&first), ["one"], "the second is still delayed");
        assert_eq!(bodies(&queue.take(at(30), 10, hidden)), ["two"]);
        let again = queue.take(at(31), 10, hidden);
        assert_eq!(bodies(&again), ["one"]);
        assert_eq!(again[0].get("Attributes").get("ApproximateReceiveCount").as_str(), Some("2"));
        queue
            .delete(first[0].get("ReceiptHandle").as_str().expect("a receipt"))
            .expect("an older receipt will do");
        assert_eq!(bodies(&queue.take(at(500), 10, hidden)), ["two"]);
        assert!(queue.delete("nonsense").is_err());
        assert!(queue.take(at(345_600), 10, hidden).is_empty(), "kept for four days");
    }

    #[test]
    fn the_oldest_messages_of_a_full_queue_are_dropped() {
        let mut queue = Queue::new(BTreeMap::new(), Timestamp::EPOCH);
        for number in 0..=MAX_MESSAGES as u64 {
            queue.put(number, number.to_string(), Timestamp::EPOCH, Timestamp::EPOCH);
        }
        assert_eq!(queue.messages.len(), MAX_MESSAGES);
        assert_eq!(bodies(&queue.take(Timestamp::EPOCH, 1, Duration::ZERO)), ["1"]);
        assert_eq!(md5_of("hello"), "5d41402abc4b2a76b9719d911017c592");
    }
}
