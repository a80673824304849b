//! Operators' orders, and callers who are too many.

use crate::harness::{HOUR, MINUTE, SECOND, Stage, world};
use autoscaler::Ended;
use autoscaler::http::Unanswered;
use autoscaler_engine::{Command, CommandError, Order};
use fleet::FleetName;
use fleet_sim::Demand;

fn web() -> FleetName {
    FleetName::new("web")
}

fn order(fleet: &str, order: Order) -> Command {
    Command {
        fleet: Some(FleetName::new(fleet)),
        order,
        by: "ann".to_owned(),
        reason: "a sale begins".to_owned(),
    }
}

#[tokio::test]
async fn an_override_holds_through_a_crash_until_it_ends_by_itself() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.start().await;
    stage.run(MINUTE).await;
    let bend = Order::Override { min: Some(7), max: None, target: None, lasts: HOUR };
    assert_eq!(stage.handle().operate(order("web", bend)).await, Ok(Ok(())));
    stage.crash().await;
    stage.start().await;
    stage.run(30 * MINUTE).await;
    let fleet = stage.handle().fleet(web()).await.expect("it answers").expect("it is known");
    assert_eq!((fleet.min, fleet.target), (7, Some(7)));
    let bent = fleet.bent.expect("it says so");
    assert_eq!((bent.by.as_str(), bent.reason.as_str()), ("ann", "a sale begins"));
    stage.run(50 * MINUTE).await;
    let fleet = stage.handle().fleet(web()).await.expect("it answers").expect("it is known");
    assert_eq!((fleet.min, fleet.bent), (1, None));
    assert!(fleet.target < Some(4), "{:?}", fleet.target);
}

#[tokio::test]
async fn an_order_that_makes_no_sense_is_refused() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.start().await;
    stage.run(SECOND).await;
    let refused = stage.handle().operate(order("wen", Order::Resume)).await.expect("it answers");
    let nearest = Some(web());
    assert_eq!(refused, Err(CommandError::UnknownFleet { name: FleetName::new("wen"), nearest }));
}

#[tokio::test]
async fn callers_who_are_too_many_are_told_so_at_once() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.config.queue = 3;
    stage.start().await;
    stage.handle().idle().await;
    let handle = stage.handle();
    // On one thread nothing is served before all have asked.
    let calls = [handle.status(), handle.status(), handle.status(), handle.status(), handle.status()];
    let mut answers = Vec::new();
    let mut calls = calls.map(Box::pin);
    for call in &mut calls {
        answers.push(poll_once(call).await);
    }
    let refused = answers.iter().filter(|answer| matches!(answer, Some(Err(Unanswered::Busy)))).count();
    assert_eq!(refused, 2);
    for (call, answer) in calls.into_iter().zip(answers) {
        if answer.is_none() {
            assert!(call.await.is_ok(), "who waits is served");
        }
    }
}

#[test]
fn explanations_are_read_by_a_few_at_a_time() {
    // One thread for what blocks, so that the test can hold it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.expect("a runtime").block_on(async {
        let mut stage = Stage::new(world(&Demand::constant(1.0)));
        stage.start().await;
        stage.run(MINUTE).await;
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let holding = tokio::task::spawn_blocking(move || held.recv().is_err());
        let (handle, now) = (stage.handle(), stage.handle().clock().wall());
        let mut calls = [(); 6].map(|()| Box::pin(handle.decision_at(web(), now)));
        let mut refused = 0;
        for call in &mut calls {
            refused += usize::from(poll_once(call).await == Some(Err(Unanswered::Busy)));
        }
        assert_eq!(refused, 2);
        drop((calls, let_go));
        assert!(holding.await.expect("it lets go"));
        assert!(matches!(handle.decision_at(web(), now).await, Ok(Some(_))), "there is room again");
    });
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_stopped_daemon_answers_nobody_and_frees_its_directory() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.start().await;
    stage.run(MINUTE).await;
    let handle = stage.handle();
    let stopping = handle.clone();
    let told = tokio::spawn(async move { stopping.stopping().await });
    let ended = stage.daemon.take().expect("it runs").stop().await;
    assert_eq!(ended, Ended::Stopped);
    told.await.expect("who serves others is told");
    assert_eq!(handle.status().await, Err(Unanswered::NotRunning));
    stage.start().await;
    stage.run(MINUTE).await;
    assert!(stage.handle().status().await.is_ok());
}
