//! The open connections: their number, what each waits for, and those that make room for others.
//!
//! Whoever has proved nothing can open a connection and say nothing on it. So when there is room for no more, those that
//! have waited longest for a request are closed, and first of all those on which nobody has proved anything: a request
//! that comes whole is answered however many do not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};

use super::client_address::{AddressKey, address_key};
use super::heads::Heads;
use super::pace::{Pace, chance};

/// The share of the connections that are closed at once to make room: looking for one costs as much as for several.
const SHARE: usize = 32;

/// The maximum time after which a connection that made room is closed. Whoever replaces each that is closed at once would
/// else have the service open and close nothing but theirs.
const PARTING: Duration = Duration::from_millis(200);

/// The maximum of requests of one connection that are looked at at a time before their caller has proved anything. More
/// wait for these, so that the streams of one connection have no more turns than several connections.
const UNPROVEN: usize = 4;

/// All open connections of a listener.
pub(crate) struct Connections {
    max: usize,
    max_of_address: usize,
    /// Of requests that prove nothing, on each connection; `None` for any number.
    unproven_per_second: Option<NonZeroU32>,
    table: Mutex<Table>,
    /// Told when a connection has ended.
    freed: Notify,
    /// The connections that made room and may stay open for a moment.
    parting: Semaphore,
    /// True while the system has no more sockets, so that those that made room are closed at once.
    is_exhausted: AtomicBool,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Arc<Connection>>,
    next: u64,
}

/// An open connection.
pub(crate) struct Connection {
    /// The address at the other end of it, which may be a proxy's.
    pub(crate) peer: IpAddr,
    /// For limits by address; `None` where the other end is a proxy, which speaks for many.
    key: Option<AddressKey>,
    /// The start of all times here.
    opened: Instant,
    /// The requests that have begun and are not answered.
    requests: AtomicUsize,
    /// Those of them whose body has not arrived.
    reading: AtomicUsize,
    /// True once a request on it has proved something.
    proven: AtomicBool,
    /// The heads of its requests, where it speaks HTTP/1.
    heads: Mutex<Heads>,
    is_http2: AtomicBool,
    /// Milliseconds from its opening to the end of its last request.
    since: AtomicU64,
    /// The same to the first byte of the head that is arriving; `NOT_YET` where none is.
    head_since: AtomicU64,
    evicted: Notify,
    /// `None` where any number of requests may prove nothing, and where the other end is a proxy.
    pace: Option<Pace>,
    /// Turns before anything is proved.
    pub(crate) turns: Arc<Semaphore>,
}

const NOT_YET: u64 = u64::MAX;

/// A connection while it is open.
pub(crate) struct Open {
    connection: Arc<Connection>,
    id: u64,
    connections: Arc<Connections>,
}

/// A request, from its head to its answer.
pub(crate) struct InRequest(Arc<Connection>);

/// A request's body, until it has arrived.
pub(crate) struct Reading(Arc<Connection>);

/// The room for a connection, if there is any.
enum Room {
    /// There is, after so many others were closed.
    Made { evicted: usize },
    /// All others are answered, and one of them will end.
    Later,
    /// Its address has too many, all of which are answered.
    Never,
}

/// The maximum number of sockets of a listener with so many connections: those that made room are closed a moment later.
#[must_use]
pub const fn max_sockets(connections: usize) -> usize {
    connections.saturating_add(connections / 2)
}

impl Connections {
    /// Room for `max` connections, and for `max_of_address` of one address.
    pub(crate) fn new(
        max: usize,
        max_of_address: usize,
        unproven_per_second: Option<NonZeroU32>,
    ) -> Arc<Self> {
        let (table, freed) = (Mutex::default(), Notify::new());
        let parting = Semaphore::new((max_sockets(max) - max).min(Semaphore::MAX_PERMITS));
        let is_exhausted = AtomicBool::new(false);
        Arc::new(Self {
            max,
            max_of_address,
            unproven_per_second,
            table,
            freed,
            parting,
            is_exhausted,
        })
    }

    /// Opens a connection; waits where all others are being answered. `None` when its address has too many. Also gives the
    /// number of those that were closed for it.
    pub(crate) async fn open(
        self: &Arc<Self>,
        peer: IpAddr,
        is_proxy: bool,
    ) -> (Option<Open>, usize) {
        let key = (!is_proxy).then(|| address_key(peer));
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on an end is not missed.
            freed.as_mut().enable();
            {
                let mut table = self.table();
                match self.room(&mut table, key) {
                    Room::Made { evicted } => {
                        return (Some(self.add(&mut table, peer, key)), evicted);
                    }
                    Room::Never => return (None, 0),
                    Room::Later => {}
                }
            }
            freed.await;
        }
    }

    /// Closes some of those that wait, and returns their number: the system has no room for more.
    pub(crate) fn relieve(&self) -> usize {
        self.is_exhausted.store(true, Ordering::Relaxed);
        self.table().evict((self.max / SHARE).max(1), |_| true)
    }

    fn add(self: &Arc<Self>, table: &mut Table, peer: IpAddr, key: Option<AddressKey>) -> Open {
        self.is_exhausted.store(false, Ordering::Relaxed);
        let opened = Instant::now();
        // A proxy's connection may carry the requests of anybody.
        let pace = self.unproven_per_second.filter(|_| key.is_some());
        let connection = Arc::new(Connection {
            peer,
            key,
            opened,
            requests: AtomicUsize::new(0),
            reading: AtomicUsize::new(0),
            proven: AtomicBool::new(false),
            heads: Mutex::default(),
            is_http2: AtomicBool::new(false),
            since: AtomicU64::new(0),
            head_since: AtomicU64::new(NOT_YET),
            evicted: Notify::new(),
            pace: pace.map(|per_second| Pace::new(per_second, opened)),
            turns: Arc::new(Semaphore::new(UNPROVEN)),
        });
        let id = table.next;
        table.next += 1;
        table.open.insert(id, Arc::clone(&connection));
        Open { connection, id, connections: Arc::clone(self) }
    }

    fn room(&self, table: &mut Table, key: Option<AddressKey>) -> Room {
        let mut evicted = 0;
        if let Some(key) = key
            && self.max_of_address < self.max
        {
            let is_of_address = |one: &Connection| one.key == Some(key);
            let open = table.open.values().filter(|one| is_of_address(one)).count();
            if open >= self.max_of_address {
                evicted += table.evict(1, is_of_address);
                if evicted == 0 {
                    return Room::Never;
                }
            }
        }
        if table.open.len() >= self.max {
            let made = table.evict((self.max / SHARE).max(1), |_| true);
            if made == 0 {
                return Room::Later;
            }
            evicted += made;
        }
        Room::Made { evicted }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Closes up to `max` of those connections on which nobody has proved anything, or one on which somebody has. They
    /// are those that have waited longest; one with a request that has arrived is not closed. Returns their number.
    fn evict(&mut self, max: usize, of: impl Fn(&Connection) -> bool) -> usize {
        let mut waiting: Vec<_> = self
            .open
            .iter()
            .filter(|(_, one)| one.is_waiting() && of(one))
            .map(|(id, one)| (one.proven.load(Ordering::Relaxed), one.waits_since(), *id))
            .collect();
        // Only so many are looked at in their order.
        if waiting.len() > max {
            waiting.select_nth_unstable(max);
            waiting.truncate(max);
        }
        waiting.sort_unstable();
        let unproven = waiting.iter().take_while(|(proven, ..)| !proven).count();
        waiting.truncate(unproven.clamp(1, max));
        for (_, _, id) in &waiting {
            if let Some(one) = self.open.remove(id) {
                one.evicted.notify_one();
            }
        }
        waiting.len()
    }
}

impl Open {
    /// Lets a moment pass before a connection that made room is closed, unless too many wait for that or its socket is needed.
    pub(crate) async fn part(&self) {
        if self.connections.is_exhausted.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(_one) = self.connections.parting.try_acquire() {
            // At different times: all at once would be replaced all at once, and others wait behind all of these.
            tokio::time::sleep(PARTING.mul_f64(chance())).await;
        }
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.table().open.remove(&self.id);
        self.connections.freed.notify_one();
    }
}

impl Connection {
    /// Done when the connection must make room.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Done when a request, or the rest of its head, has not come in time.
    pub(crate) async fn expired(&self, idle: Duration, head: Duration) {
        loop {
            let now = Instant::now();
            // A head that begins meanwhile has until after the next look.
            let next = match self.deadline(idle, head) {
                Some(deadline) if deadline <= now => return,
                Some(deadline) => deadline.min(now + head),
                None => now + head,
            };
            tokio::time::sleep_until(next.into()).await;
        }
    }

    fn deadline(&self, idle: Duration, head: Duration) -> Option<Instant> {
        if self.requests.load(Ordering::Acquire) > 0 {
            return None;
        }
        let at = |milliseconds| self.opened + Duration::from_millis(milliseconds);
        match self.head_since.load(Ordering::Acquire) {
            NOT_YET => Some(at(self.since.load(Ordering::Acquire)) + idle),
            since => Some(at(since) + head),
        }
    }

    /// Notes the bytes that arrive.
    pub(crate) fn arrived(&self, bytes: &[u8]) {
        // Its frames are not looked at: a ping is no head that has begun.
        if self.is_http2.load(Ordering::Relaxed) {
            return;
        }
        let mut heads = self.heads();
        heads.arrived(bytes);
        if heads.is_within() {
            let _ = self.head_since.compare_exchange(
                NOT_YET,
                self.milliseconds(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        } else {
            self.head_since.store(NOT_YET, Ordering::Release);
        }
    }

    /// The heads of its requests, where it speaks HTTP/1.
    pub(crate) fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn speaks_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
        self.head_since.store(NOT_YET, Ordering::Release);
    }

    /// Waits until the next request may be read, where those before it proved nothing and were many. True if it waited.
    pub(crate) async fn paced(&self) -> bool {
        let next = |pace: &Pace| Some(pace.next(Instant::now())? + pace.spread());
        let Some(next) = self.pace.as_ref().and_then(next) else { return false };
        tokio::time::sleep_until(next.into()).await;
        true
    }

    /// Notes that a request was answered, and whether its caller has proved something.
    pub(crate) fn has_answered(&self, proven: bool) {
        if proven {
            self.proven.store(true, Ordering::Relaxed);
        }
        match &self.pace {
            Some(pace) if proven => pace.forget(Instant::now()),
            Some(pace) => pace.count(Instant::now()),
            None => {}
        }
    }

    /// True while nothing that has arrived whole is being answered.
    fn is_waiting(&self) -> bool {
        // In this order: a body that arrives in between is at worst taken for one that has not.
        self.requests.load(Ordering::Acquire) <= self.reading.load(Ordering::Acquire)
    }

    fn waits_since(&self) -> Instant {
        self.opened + Duration::from_millis(self.since.load(Ordering::Relaxed))
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(NOT_YET - 1)
    }
}

impl InRequest {
    pub(crate) fn begin(connection: Arc<Connection>) -> Self {
        connection.requests.fetch_add(1, Ordering::AcqRel);
        Self(connection)
    }
}

impl Drop for InRequest {
    fn drop(&mut self) {
        self.0.since.store(self.0.milliseconds(), Ordering::Release);
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Reading {
    pub(crate) fn begin(connection: Arc<Connection>) -> Self {
        connection.reading.fetch_add(1, Ordering::AcqRel);
        Self(connection)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reading.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
