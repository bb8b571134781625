//! Compiled code in memory, within a bound.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::apart::Apart;
use crate::lane::Seat;
use crate::sandbox::Guest;

/// What compiled code an engine holds, and the most that it may hold. What was not used for longest
/// goes first, and is made again when it is needed.
#[derive(Default)]
pub(crate) struct Residents {
    most_bytes: Option<u64>,
    /// What is held, and what was dropped and is still in use.
    bytes: AtomicU64,
    /// Counts uses. A place's number is that of its last one.
    uses: AtomicU64,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    numbers: u64,
    by_number: HashMap<u64, Weak<Place>>,
}

/// So many bytes of compiled code, counted as long as this lives.
pub(crate) struct Loaded {
    bytes: u64,
    residents: Arc<Residents>,
}

/// A place for one guest, which holds it for some seats, or for none.
pub(crate) struct Resident {
    place: Arc<Place>,
    residents: Arc<Residents>,
    seats: usize,
}

type HeldGuest = Mutex<Option<Arc<Guest>>>;

struct Place {
    number: u64,
    /// Made when the first guest is held: most places of a large set hold none.
    seats: OnceLock<Box<[Apart<HeldGuest>]>>,
    used: AtomicU64,
    /// Held by whoever makes it, so that it is made once.
    making: Mutex<()>,
}

impl Residents {
    pub(crate) fn new(most_bytes: Option<u64>) -> Self {
        Self { most_bytes, ..Self::default() }
    }

    /// How many bytes of compiled code are held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts compiled code.
    pub(crate) fn load(self: &Arc<Self>, bytes: u64) -> Loaded {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Loaded { bytes, residents: Arc::clone(self) }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        lock(&self.places)
    }

    /// Drops what was not used for longest until what is held is within the bound: first what is also held
    /// for another seat, which is copied again in no time, and then the rest, but not the guest of `place`
    /// for `seat`.
    fn keep_within_bound(&self, place: &Place, seat: Seat) {
        let Some(most) = self.most_bytes else { return };
        if self.bytes() <= most {
            return;
        }
        let places = self.places();
        let mut by_use: Vec<_> = places
            .by_number
            .values()
            .filter_map(Weak::upgrade)
            .map(|place| (place.used.load(Ordering::Relaxed), place))
            .collect();
        drop(places);
        by_use.sort_unstable_by_key(|(used, _)| *used);
        // A tenth more than must go: not at every turn.
        let enough = || self.bytes() <= most / 10 * 9;
        for (_, other) in &by_use {
            if enough() {
                return;
            }
            other.drop_all_but(if other.number == place.number { Some(seat) } else { other.any() });
        }
        for (_, other) in by_use.iter().filter(|(_, other)| other.number != place.number) {
            if enough() {
                return;
            }
            other.drop_all_but(None);
        }
    }
}

impl Place {
    /// A seat whose guest is held.
    fn any(&self) -> Option<Seat> {
        self.seats().iter().position(|seat| lock(&seat.0).is_some()).map(Seat)
    }

    /// Drops the guests of all seats but one. Who evaluates with one now keeps it until then.
    fn drop_all_but(&self, kept: Option<Seat>) {
        for (number, seat) in self.seats().iter().enumerate() {
            if kept != Some(Seat(number)) {
                let _dropped_after_the_lock = lock(&seat.0).take();
            }
        }
    }

    fn seats(&self) -> &[Apart<HeldGuest>] {
        self.seats.get().map(|seats| &**seats).unwrap_or_default()
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.residents.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Resident {
    /// A place that holds nothing yet, for so many seats.
    pub(crate) fn new(residents: &Arc<Residents>, seats: usize) -> Self {
        let mut places = residents.places();
        places.numbers += 1;
        let place = Arc::new(Place {
            number: places.numbers,
            seats: OnceLock::new(),
            used: AtomicU64::new(0),
            making: Mutex::new(()),
        });
        places.by_number.insert(place.number, Arc::downgrade(&place));
        Self { place, residents: Arc::clone(residents), seats }
    }

    /// The guest of any seat, which is made when there is none.
    pub(crate) fn get<E>(
        &self,
        make: impl FnOnce() -> Result<Arc<Guest>, E>,
    ) -> Result<Arc<Guest>, E> {
        if let Some(guest) = self.anywhere() {
            return Ok(guest);
        }
        let _making = lock(&self.place.making);
        if let Some(guest) = self.anywhere() {
            return Ok(guest);
        }
        let guest = make()?;
        self.put(&guest);
        Ok(guest)
    }

    /// Holds a guest for its seat.
    pub(crate) fn put(&self, guest: &Arc<Guest>) {
        let seats =
            self.place.seats.get_or_init(|| (0..self.seats).map(|_| Apart::default()).collect());
        if let Some(seat) = seats.get(guest.seat().0) {
            *lock(&seat.0) = Some(Arc::clone(guest));
        }
        self.touch();
        self.residents.keep_within_bound(&self.place, guest.seat());
    }

    /// The guest of a seat, if it is held.
    pub(crate) fn at(&self, seat: Seat) -> Option<Arc<Guest>> {
        let guest = lock(&self.place.seats().get(seat.0)?.0).clone()?;
        self.touch();
        Some(guest)
    }

    fn anywhere(&self) -> Option<Arc<Guest>> {
        (0..self.place.seats().len()).find_map(|seat| self.at(Seat(seat)))
    }

    fn touch(&self) {
        // All processors write to it, so only where it is asked for.
        if self.residents.most_bytes.is_some() {
            let now = self.residents.uses.fetch_add(1, Ordering::Relaxed);
            self.place.used.store(now, Ordering::Relaxed);
        }
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.residents.places().by_number.remove(&self.place.number);
    }
}

/// Nothing panics while it holds one of these locks; if something did, what they guard would be right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
