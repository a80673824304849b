//! SQS behind [`Queue`].

use crate::action::Action;
use crate::client::InRegion;
use crate::errors;
use crate::governor::Toll;
use aws_sdk_sqs::types::{
    self, DeleteMessageBatchRequestEntry, MessageSystemAttributeName, QueueAttributeName,
};
use fleet::ports::{Answer, Depth, MESSAGES_AT_ONCE, Message, Queue, Receipt};
use fleet::{ApiError, ErrorClass, MessageId, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// SQS's longest wait for a first message.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// SQS's longest time of invisibility.
const LONGEST_VISIBILITY: Duration = Duration::from_secs(12 * 3600);

/// A queue of one region. Clones share everything.
#[derive(Clone)]
pub struct AwsQueue {
    region: Arc<InRegion>,
    url: Arc<str>,
}

impl AwsQueue {
    pub(crate) fn new(region: Arc<InRegion>, url: &str) -> Self {
        Self { region, url: url.into() }
    }
    /// The queue's name: the end of its URL.
    pub fn name(&self) -> &str {
        self.url.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    async fn receive(&self, wait: Duration, visibility: Duration) -> Result<Vec<Message>, ApiError> {
        let wait = wait.min(LONGEST_WAIT);
        let send = || {
            let call = self.region.sqs.receive_message().queue_url(&*self.url);
            call.max_number_of_messages(whole(MESSAGES_AT_ONCE as u64))
                .wait_time_seconds(whole(wait.as_secs()))
                .visibility_timeout(whole(visibility.min(LONGEST_VISIBILITY).as_secs()))
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
                .send()
        };
        let answer = self.region.call_that_waits(Action::ReceiveMessage, wait, send).await?;
        let now = self.region.clock.wall();
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(|message| read(message, now)).collect())
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<Receipt>, ApiError> {
        let action = Action::DeleteMessageBatch;
        if receipts.is_empty() {
            return Ok(Vec::new());
        }
        if receipts.len() > MESSAGES_AT_ONCE {
            let message = format!("not sent: {} messages, SQS takes {MESSAGES_AT_ONCE}", receipts.len());
            return Err(errors::local(ErrorClass::Malformed, action, &message));
        }
        let entry = |(place, receipt): (usize, &Receipt)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(place.to_string());
            entry.receipt_handle(&receipt.0).build()
        };
        let entries: Result<Vec<_>, _> = receipts.iter().enumerate().map(entry).collect();
        let entries =
            entries.map_err(|error| errors::local(ErrorClass::Malformed, action, &error.to_string()))?;
        let send = || {
            let call = self.region.sqs.delete_message_batch().queue_url(&*self.url);
            call.set_entries(Some(entries.clone())).send()
        };
        let answer = self.region.call(action, Toll::None, send).await?;
        let failed: Vec<&str> = answer.failed().iter().map(types::BatchResultErrorEntry::id).collect();
        let left =
            receipts.iter().enumerate().filter(|(place, _)| failed.contains(&place.to_string().as_str()));
        Ok(left.map(|(_, receipt)| receipt.clone()).collect())
    }

    async fn depth(&self) -> Result<Depth, ApiError> {
        const VISIBLE: QueueAttributeName = QueueAttributeName::ApproximateNumberOfMessages;
        const IN_FLIGHT: QueueAttributeName = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let send = || {
            let call = self.region.sqs.get_queue_attributes().queue_url(&*self.url);
            call.attribute_names(VISIBLE).attribute_names(IN_FLIGHT).send()
        };
        let answer = self.region.call(Action::GetQueueAttributes, Toll::None, send).await?;
        let attributes = answer.attributes.unwrap_or_default();
        let number = |name| attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Depth { visible: number(VISIBLE), in_flight: number(IN_FLIGHT) })
    }
}

/// A number of the API, within what its bounds allow.
fn whole(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// `None` without an id or a receipt: such a message could never be deleted.
fn read(message: types::Message, now: Timestamp) -> Option<Message> {
    let attributes = message.attributes.unwrap_or_default();
    let number = |name| attributes.get(&name).and_then(|text| text.parse::<i64>().ok());
    let sent = number(MessageSystemAttributeName::SentTimestamp);
    let deliveries = number(MessageSystemAttributeName::ApproximateReceiveCount);
    Some(Message {
        id: MessageId::new(message.message_id?),
        receipt: Receipt(message.receipt_handle?),
        body: message.body.unwrap_or_default(),
        sent: sent.map_or(now, Timestamp::from_millis),
        deliveries: deliveries.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
    })
}

impl Queue for AwsQueue {
    fn receive(&self, wait: Duration, visibility: Duration) -> Answer<'_, Vec<Message>> {
        Box::pin(self.receive(wait, visibility))
    }
    fn delete<'a>(&'a self, receipts: &'a [Receipt]) -> Answer<'a, Vec<Receipt>> {
        Box::pin(self.delete(receipts))
    }
    fn depth(&self) -> Answer<'_, Depth> {
        Box::pin(self.depth())
    }
}
