#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;

use super::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

async fn open(connections: &Arc<Connections>, peer: IpAddr) -> (Open, usize) {
    let (open, evicted) = connections.open(peer, false).await;
    (open.unwrap(), evicted)
}

fn is_evicted(connections: &Connections, one: &Open) -> bool {
    !connections.table().open.contains_key(&one.id)
}

#[tokio::test]
async fn who_has_waited_longest_and_proved_nothing_makes_room() {
    let connections = Connections::new(3, 3, None);
    let (first, _) = open(&connections, PEER).await;
    first.connection().has_answered(true);
    let (second, _) = open(&connections, PEER).await;
    let (third, _) = open(&connections, PEER).await;
    third.connection().since.store(1, Ordering::Relaxed);
    let answered = InRequest::begin(Arc::clone(second.connection()));
    let (_fourth, evicted) = open(&connections, PEER).await;
    assert_eq!(evicted, 1);
    let found = [&first, &second, &third].map(|one| is_evicted(&connections, one));
    assert_eq!(found, [false, false, true], "the second one is being answered");
    third.connection().evicted().await;
    drop(answered);
    let (_fifth, _) = open(&connections, PEER).await;
    assert!(!is_evicted(&connections, &first));
}

#[tokio::test]
async fn a_body_that_does_not_come_makes_room_and_one_that_has_come_does_not() {
    let connections = Connections::new(1, 1, None);
    let (first, _) = open(&connections, PEER).await;
    let request = InRequest::begin(Arc::clone(first.connection()));
    let reading = Reading::begin(Arc::clone(first.connection()));
    let (second, evicted) = open(&connections, PEER).await;
    assert!(evicted == 1 && is_evicted(&connections, &first));
    drop((request, reading));
    let request = InRequest::begin(Arc::clone(second.connection()));
    let mut waiting = pin!(connections.open(OTHER, false));
    assert!(polled_once(waiting.as_mut()).await.is_none(), "there is no room");
    drop(request);
    drop(second);
    assert!(waiting.await.0.is_some());
}

#[tokio::test]
async fn one_that_made_room_is_closed_a_moment_later_unless_too_many_are() {
    let connections = Connections::new(2, 2, None);
    let (first, _) = open(&connections, PEER).await;
    let (second, _) = open(&connections, PEER).await;
    let mut parting = pin!(first.part());
    assert!(polled_once(parting.as_mut()).await.is_none(), "a socket beside two");
    let mut another = pin!(second.part());
    assert!(polled_once(another.as_mut()).await.is_some(), "there may be no more of them");
    parting.await;
    assert_eq!(max_sockets(2), 3);
    // Where the system has no more sockets, none is kept; the next one that is opened shows that it has.
    connections.relieve();
    assert!(polled_once(pin!(first.part())).await.is_some());
    let _third = open(&connections, PEER).await;
    assert!(polled_once(pin!(first.part())).await.is_none());
}

/// Polls once.
async fn polled_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut future = Some(future);
    std::future::poll_fn(|context| {
        let polled = future.take().map(|future| future.poll(context));
        std::task::Poll::Ready(match polled {
            Some(std::task::Poll::Ready(output)) => Some(output),
            _ => None,
        })
    })
    .await
}

#[tokio::test]
async fn an_address_with_many_makes_room_for_its_own() {
    let connections = Connections::new(10, 2, NonZeroU32::new(10));
    let (first, _) = open(&connections, PEER).await;
    let (second, _) = open(&connections, PEER).await;
    let (_other, evicted) = open(&connections, OTHER).await;
    assert_eq!(evicted, 0);
    let (third, evicted) = open(&connections, PEER).await;
    assert!(evicted == 1 && is_evicted(&connections, &first));
    let _requests = [&second, &third].map(|one| InRequest::begin(Arc::clone(one.connection())));
    assert!(connections.open(PEER, false).await.0.is_none(), "both are being answered");
    // A proxy speaks for many.
    assert!(connections.open(PEER, true).await.0.is_some());
}

#[tokio::test]
async fn a_connection_is_paced_until_it_proves_something_and_a_proxys_is_not() {
    let connections = Connections::new(10, 10, NonZeroU32::new(10));
    let (one, _) = open(&connections, PEER).await;
    let (proxy, _) = connections.open(OTHER, true).await;
    let (one, proxy) = (one.connection(), proxy.unwrap());
    for _ in 0..30 {
        one.has_answered(false);
        proxy.connection().has_answered(false);
    }
    assert!(one.paced().await && !proxy.connection().paced().await);
    assert!(one.is_waiting(), "it may make room meanwhile");
    one.has_answered(true);
    assert!(!one.paced().await);
}
