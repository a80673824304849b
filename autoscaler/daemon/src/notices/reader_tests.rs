use super::*;
use crate::notices::LettersKept;
use fleet::ports::{Answer, Depth, Receipt};
use fleet::{ApiError, News, Timestamp};
use fleet_clock::SteppedClock;
use std::collections::VecDeque;

const QUEUE: &str = "notices";

/// A queue with SQS's rules, and errors by script.
struct FakeQueue {
    clock: SteppedClock,
    inside: Mutex<Inside>,
    came: Notify,
}

#[derive(Default)]
struct Inside {
    /// (body, visible from, deliveries, deleted).
    messages: Vec<(String, Duration, u32, bool)>,
    fail_receives: VecDeque<ErrorClass>,
    fail_deletes: VecDeque<ErrorClass>,
    deletes: Vec<usize>,
    panics: u32,
    receiving: usize,
    most_receiving: usize,
}

impl FakeQueue {
    fn new() -> (Arc<Self>, SteppedClock) {
        let clock = SteppedClock::new(Timestamp::from_secs(1_772_352_000));
        let queue = Self { clock: clock.clone(), inside: Mutex::default(), came: Notify::new() };
        (Arc::new(queue), clock)
    }
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().expect("no test panics in here")
    }
    fn send(&self, body: &str) {
        let now = self.clock.monotonic();
        self.inside().messages.push((body.to_owned(), now, 0, false));
        self.came.notify_waiters();
    }
    fn left(&self) -> usize {
        self.inside().messages.iter().filter(|message| !message.3).count()
    }
    fn panics(&self) -> bool {
        let panics = &mut self.inside().panics;
        let left = panics.checked_sub(1);
        *panics = left.unwrap_or(0);
        left.is_some()
    }
    fn take(&self, visibility: Duration) -> Vec<Message> {
        let now = self.clock.monotonic();
        let mut inside = self.inside();
        let visible = inside.messages.iter_mut().enumerate().filter(|(_, m)| !m.3 && m.1 <= now);
        visible
            .take(MESSAGES_AT_ONCE)
            .map(|(place, message)| {
                message.1 = now + visibility;
                message.2 += 1;
                Message {
                    id: MessageId::new(place.to_string()),
                    receipt: Receipt(format!("{place}.{}", message.2)),
                    body: message.0.clone(),
                    sent: Timestamp::from_secs(1_772_352_000),
                    deliveries: message.2,
                }
            })
            .collect()
    }
    async fn wait_and_take(&self, wait: Duration, visibility: Duration) -> Vec<Message> {
        let until = self.clock.monotonic() + wait;
        loop {
            let came = self.came.notified();
            let taken = self.take(visibility);
            if !taken.is_empty() || self.clock.monotonic() >= until {
                return taken;
            }
            tokio::select! {
                () = came => {}
                () = self.clock.sleep_until(until) => {}
            }
        }
    }
}

fn failure(class: ErrorClass) -> ApiError {
    ApiError::new(class, "sqs", "Scripted", None, "as scripted")
}

impl Queue for FakeQueue {
    fn receive(&self, wait: Duration, visibility: Duration) -> Answer<'_, Vec<Message>> {
        Box::pin(async move {
            if let Some(class) = self.inside().fail_receives.pop_front() {
                return Err(failure(class));
            }
            assert!(!self.panics(), "as scripted");
            {
                let mut inside = self.inside();
                inside.receiving += 1;
                inside.most_receiving = inside.most_receiving.max(inside.receiving);
            }
            let taken = self.wait_and_take(wait, visibility).await;
            self.inside().receiving -= 1;
            // An answer takes its time on the wire: others run meanwhile.
            tokio::task::yield_now().await;
            Ok(taken)
        })
    }
    fn delete<'a>(&'a self, receipts: &'a [Receipt]) -> Answer<'a, Vec<Receipt>> {
        Box::pin(async move {
            let mut inside = self.inside();
            inside.deletes.push(receipts.len());
            if let Some(class) = inside.fail_deletes.pop_front() {
                return Err(failure(class));
            }
            for receipt in receipts {
                let place: usize = receipt.0.split('.').next().and_then(|p| p.parse().ok()).expect("ours");
                inside.messages[place].3 = true;
            }
            Ok(Vec::new())
        })
    }
    fn depth(&self) -> Answer<'_, Depth> {
        Box::pin(async move { Ok(Depth { visible: self.left() as u64, in_flight: 0 }) })
    }
}

fn warning(number: usize) -> String {
    let detail = format!(r#"{{"instance-id":"i-{number:017x}","instance-action":"terminate"}}"#);
    let kind = "EC2 Spot Instance Interruption Warning";
    format!(
        r#"{{"source":"aws.ec2","detail-type":"{kind}","time":"2026-03-01T08:00:00Z","detail":{detail}}}"#
    )
}
const NOTHING: &str =
    r#"{"source":"aws.health","detail-type":"AWS Health Event","detail":{"service":"RDS"}}"#;

struct Bench {
    queue: Arc<FakeQueue>,
    clock: SteppedClock,
    reader: Reader,
    deliveries: mpsc::Receiver<Delivery>,
    letters: DeadLetters,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(config: ReaderConfig) -> Self {
        let (queue, clock) = FakeQueue::new();
        let directory = tempfile::tempdir().expect("a directory");
        let letters = DeadLetters::open(Some(directory.path())).expect("a record");
        let (sender, deliveries) = mpsc::channel(100);
        let port: Arc<dyn Queue> = Arc::<FakeQueue>::clone(&queue);
        let reader = Reader::start(QUEUE, port, Arc::new(clock.clone()), config, letters.clone(), &sender);
        Self { queue, clock, reader, deliveries, letters, _directory: directory }
    }
    /// Lets everything run until nothing more happens at this time.
    async fn settle(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }
    /// Runs until something holds, moving the clock on whenever everybody sleeps.
    async fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..10_000 {
            self.settle().await;
            if holds(self) {
                return;
            }
            if let Some(next) = self.clock.next_wake() {
                self.clock.advance_to(next);
            }
        }
        panic!("never came: {what}");
    }
    fn take(&mut self) -> Vec<Delivery> {
        std::iter::from_fn(|| self.deliveries.try_recv().ok()).collect()
    }
    /// Acknowledges all that comes, until the queue is empty. * returns: what came, each once.
    async fn empty(&mut self) -> Vec<MessageId> {
        let mut seen = Vec::new();
        self.until("the last of them", |bench| {
            let taken = bench.take();
            bench.reader.acknowledge(&ids(&taken));
            seen.extend(ids(&taken));
            bench.queue.left() == 0
        })
        .await;
        seen.sort_unstable();
        seen.dedup();
        seen
    }
}

fn ids(deliveries: &[Delivery]) -> Vec<MessageId> {
    deliveries.iter().map(|delivery| delivery.message.clone()).collect()
}

#[tokio::test]
async fn a_message_is_deleted_when_it_is_acknowledged_and_not_before() {
    let mut bench = Bench::new(ReaderConfig::default());
    bench.queue.send(&warning(1));
    bench.settle().await;
    let taken = bench.take();
    let [News::Notice(notice)] = taken[0].news.as_slice() else { panic!("one notice: {taken:?}") };
    assert_eq!(notice.instance.as_str(), "i-00000000000000001");
    let expected = (1, 0, Some(Timestamp::from_secs(1_772_352_000)));
    let counts = bench.reader.watch().counts();
    assert_eq!((counts.received, counts.deleted, counts.oldest), expected);
    bench.reader.acknowledge(&ids(&taken));
    bench.settle().await;
    assert_eq!((bench.queue.left(), bench.reader.watch().counts().oldest), (0, None));
}

#[tokio::test]
async fn what_is_not_acknowledged_is_handed_on_again_each_time_that_it_comes_again() {
    let mut bench = Bench::new(ReaderConfig::default());
    bench.queue.send(&warning(1));
    let mut taken = Vec::new();
    let again = |bench: &mut Bench| {
        taken.extend(bench.take());
        taken.len() >= 3
    };
    bench.until("a third delivery", again).await;
    let visibility = ReaderConfig::default().visibility;
    assert!(bench.clock.monotonic() >= visibility * 2, "not before the queue delivers it again");
    assert!(taken.iter().all(|delivery| *delivery == taken[0]), "{taken:?}");
    assert_eq!(bench.reader.watch().counts().outstanding, 1);
    bench.reader.acknowledge(&ids(&taken));
    bench.settle().await;
    assert_eq!(bench.queue.left(), 0, "deleted by the newest receipt");
}

#[tokio::test]
async fn reading_goes_on_though_all_that_was_handed_on_is_lost() {
    let mut bench = Bench::new(ReaderConfig { outstanding: 10, receivers: 1, ..ReaderConfig::default() });
    (0..15).for_each(|number| bench.queue.send(&warning(number)));
    bench.settle().await;
    assert_eq!(bench.take().len(), 10, "and nobody ever acknowledges them");
    // The clock leaps on here while deletions are under way: what comes again meanwhile is handed on twice.
    let seen = bench.empty().await;
    assert_eq!(seen.len(), 15, "{seen:?}");
}

#[tokio::test]
async fn what_says_nothing_is_deleted_at_once() {
    let mut bench = Bench::new(ReaderConfig::default());
    bench.queue.send(NOTHING);
    bench.settle().await;
    assert_eq!((bench.queue.left(), bench.take().len()), (0, 0));
    assert_eq!(bench.reader.watch().counts().idle, 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_counted_and_deleted() {
    let bench = Bench::new(ReaderConfig::default());
    bench.queue.send("<html>");
    bench.queue.send(r#"{"source":"aws.s3","detail-type":"Object Created","detail":{}}"#);
    // The disk takes the host's time; the world's stands still meanwhile.
    let deleted = async {
        while bench.queue.left() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), deleted).await.expect("they are deleted");
    let dead = bench.reader.watch().counts().dead_letters;
    assert_eq!(dead.into_iter().collect::<Vec<_>>(), [("not_json", 1), ("unknown", 1)]);
    assert!(matches!(bench.letters.kept(), LettersKept { letters: 2, oldest: Some(_) }));
}

#[tokio::test]
async fn a_full_queue_is_read_by_several_and_a_quiet_one_by_one() {
    let mut bench = Bench::new(ReaderConfig::default());
    bench.settle().await;
    assert_eq!(bench.queue.inside().most_receiving, 1);
    for number in 0..300 {
        bench.queue.send(&warning(number));
    }
    assert_eq!(bench.empty().await.len(), 300);
    let batches = std::mem::take(&mut bench.queue.inside().deletes);
    assert!(batches.len() < 60, "deleted in batches: {batches:?}");
    bench.until("quiet", |bench| bench.queue.inside().receiving == 1).await;
}

#[tokio::test]
async fn reading_pauses_while_too_much_is_outstanding() {
    let mut bench = Bench::new(ReaderConfig { outstanding: 20, receivers: 1, ..ReaderConfig::default() });
    for number in 0..50 {
        bench.queue.send(&warning(number));
    }
    bench.settle().await;
    let taken = bench.take();
    assert_eq!((taken.len(), bench.reader.watch().counts().outstanding), (20, 20));
    bench.reader.acknowledge(&ids(&taken));
    bench.settle().await;
    assert_eq!(bench.take().len(), 20, "there is room again");
}

#[tokio::test]
async fn strangers_that_wait_for_a_describe_keep_nobody_waiting_behind_them() {
    let mut bench = Bench::new(ReaderConfig { outstanding: 20, receivers: 1, ..ReaderConfig::default() });
    for number in 0..70 {
        bench.queue.send(&warning(number));
    }
    let mut seen = Vec::new();
    // No time passes: nobody waits for what was put off to be lost.
    for _ in 0..20 {
        bench.settle().await;
        // Describes fail: nothing is ever acknowledged.
        let taken = ids(&bench.take());
        for message in &taken {
            bench.reader.put_off(message);
        }
        seen.extend(taken);
    }
    assert_eq!(seen.len(), 70);
    assert!(bench.reader.watch().counts().outstanding <= 20, "and no more are kept in mind");
}

#[tokio::test]
async fn a_task_that_panics_is_counted_and_begun_anew() {
    let mut bench = Bench::new(ReaderConfig { receivers: 1, ..ReaderConfig::default() });
    bench.queue.inside().panics = 2;
    bench.queue.send(&warning(1));
    assert_eq!(bench.empty().await.len(), 1, "it is read all the same");
    assert_eq!(bench.reader.watch().counts().lost_tasks, 2);
    bench.reader.stop().await;
}

#[tokio::test]
async fn failures_are_counted_and_waited_out() {
    let mut bench = Bench::new(ReaderConfig { receivers: 1, ..ReaderConfig::default() });
    bench.queue.inside().fail_receives = [ErrorClass::Denied, ErrorClass::Transient].into();
    bench.queue.inside().fail_deletes = [ErrorClass::Unclear].into();
    bench.queue.send(&warning(1));
    bench
        .until("its deletion", |bench| {
            let taken = bench.take();
            bench.reader.acknowledge(&ids(&taken));
            bench.queue.left() == 0
        })
        .await;
    let counts = bench.reader.watch().counts();
    for call in [("receive", "denied"), ("receive", "transient"), ("delete", "unclear"), ("delete", "ok")] {
        assert_eq!(counts.calls.get(&call), Some(&1), "{call:?} of {:?}", counts.calls);
    }
    assert_eq!((counts.deleted, counts.undeleted), (1, 1));
    assert!(bench.clock.monotonic() >= LONGEST_PAUSE, "only an operator helps against a denial");
}

#[tokio::test]
async fn how_long_nothing_was_received_shows_where_no_message_tells_its_age() {
    let mut bench = Bench::new(ReaderConfig { receivers: 1, ..ReaderConfig::default() });
    let minutes = Duration::from_secs(120);
    let watch = bench.reader.watch();
    bench.queue.send(&warning(1));
    bench.queue.inside().fail_receives = vec![ErrorClass::Denied; 100].into();
    bench.until("two minutes", |bench| bench.clock.monotonic() >= minutes).await;
    assert_eq!((watch.counts().oldest, watch.counts().silent), (None, Some(bench.clock.monotonic())));

    bench.queue.inside().fail_receives.clear();
    bench.until("the message", |_| watch.counts().received == 1).await;
    assert_eq!(watch.counts().silent, Some(Duration::ZERO));
    let taken = bench.take();
    bench.reader.acknowledge(&ids(&taken));
    let quiet_until = bench.clock.monotonic() + minutes;
    bench
        .until("two quiet minutes", |bench| {
            assert!(
                watch.counts().silent <= Some(ReaderConfig::default().wait),
                "an empty answer is one, too"
            );
            bench.clock.monotonic() >= quiet_until
        })
        .await;
    bench.reader.stop().await;
    assert_eq!(watch.counts().silent, None, "nobody reads it any more");
}

#[tokio::test]
async fn a_stop_deletes_what_was_acknowledged_and_leaves_the_rest() {
    let mut bench = Bench::new(ReaderConfig { receivers: 1, ..ReaderConfig::default() });
    for number in 0..10 {
        bench.queue.send(&warning(number));
    }
    bench.settle().await;
    let taken = bench.take();
    bench.reader.acknowledge(&ids(&taken[..7]));
    bench.reader.stop().await;
    assert_eq!(bench.queue.left(), 3);
}
