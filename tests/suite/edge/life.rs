//! From the cap of connections to the end of the edge.

use std::sync::Arc;

use phoenixd::edge::Limits;
use phoenixd::reconcile::Routes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Edge, LIMITS, ask, greeter, open};

#[tokio::test]
async fn no_connection_is_left_behind() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[&a], &[]).await;
    for _ in 0..500 {
        assert_eq!(edge.ask().await, "a");
    }
    edge.report(|r| open(r) == [("a", 0)]).await;
}

#[tokio::test]
async fn beyond_the_cap_connections_wait_their_turn() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let mut edge = Edge::start(Limits {
        connections: 2,
        ..LIMITS
    });
    edge.route(1, &[&a], &[]).await;
    let (mut one, mut two) = (edge.connect().await, edge.connect().await);
    assert_eq!(ask(&mut one).await.unwrap(), "a");
    assert_eq!(ask(&mut two).await.unwrap(), "a");
    let mut three = edge.connect().await;
    three.write_all(b"?").await.unwrap();
    assert_eq!(ask(&mut one).await.unwrap(), "a");
    edge.report(|r| open(r) == [("a", 2)]).await;
    drop(one);
    let mut answer = [0; 1];
    three.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"a");
}

#[tokio::test]
async fn at_shutdown_ports_close_at_once_and_connections_may_end() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let mut kept = edge.connect().await;
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
    edge.shutdown.cancel();
    edge.closed().await;
    assert_eq!(ask(&mut kept).await.unwrap(), "a");
    // Tables are still applied and reported.
    let report = edge.route(2, &[], &[&a]).await;
    assert_eq!(open(&report), [("a", 1)]);
    assert!(edge.running.try_join_next().is_none());
    drop(kept);
    edge.running.join_next().await.unwrap().unwrap();
    assert_eq!(open(&edge.reports.borrow()), [("a", 0)]);
}

#[tokio::test]
async fn the_last_table_stays_when_the_supervisor_is_gone() {
    let mut servers = JoinSet::new();
    let a = greeter(&mut servers, "a").await;
    let mut edge = Edge::start(LIMITS);
    edge.route(1, &[&a], &[]).await;
    let (other, _) = watch::channel((0, Arc::new(Routes::default())));
    drop(std::mem::replace(&mut edge.routes, other));
    for _ in 0..10 {
        assert_eq!(edge.ask().await, "a");
    }
}
