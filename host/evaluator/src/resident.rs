//! Compiled code in memory, within a bound.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use crate::sandbox::Guest;

/// What compiled code an engine holds, and the most that it may hold. What was not used for longest
/// goes first, and is made again when it is needed.
#[derive(Default)]
pub(crate) struct Residents {
    most_bytes: Option<u64>,
    /// Counts uses. A place's number is that of its last one.
    uses: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: u64,
    places: HashMap<u64, (Weak<Place>, u64)>,
    numbers: u64,
}

/// A place for one guest, which holds it or does not.
pub(crate) struct Resident {
    place: Arc<Place>,
    residents: Arc<Residents>,
}

#[derive(Default)]
struct Place {
    number: u64,
    guest: RwLock<Option<Arc<Guest>>>,
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
        self.held().bytes
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, place: &Arc<Place>, bytes: u64) {
        let mut held = self.held();
        held.bytes += bytes;
        held.places.insert(place.number, (Arc::downgrade(place), bytes));
        let Some(most) = self.most_bytes else { return };
        if held.bytes <= most {
            return;
        }
        // The least recently used ones, until nine tenths are left: not at every turn.
        let mut by_use: Vec<(u64, u64)> = held
            .places
            .iter()
            .filter(|(number, _)| **number != place.number)
            .filter_map(|(number, (place, _))| {
                Some((place.upgrade()?.used.load(Ordering::Relaxed), *number))
            })
            .collect();
        by_use.sort_unstable();
        for (_, number) in by_use {
            if held.bytes <= most / 10 * 9 {
                return;
            }
            let Some((place, bytes)) = held.places.remove(&number) else { continue };
            held.bytes -= bytes;
            if let Some(place) = place.upgrade() {
                // Who evaluates with it now keeps it until then.
                *place.guest.write().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    }
}

impl Resident {
    /// A place that holds nothing yet.
    pub(crate) fn new(residents: &Arc<Residents>) -> Self {
        let mut held = residents.held();
        held.numbers += 1;
        let place = Arc::new(Place { number: held.numbers, ..Place::default() });
        Self { place, residents: Arc::clone(residents) }
    }

    /// The guest, which is made when it is not there.
    pub(crate) fn get<E>(
        &self,
        make: impl FnOnce() -> Result<Arc<Guest>, E>,
    ) -> Result<Arc<Guest>, E> {
        if let Some(guest) = self.here() {
            return Ok(guest);
        }
        let _making = self.place.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guest) = self.here() {
            return Ok(guest);
        }
        let guest = make()?;
        self.put(&guest);
        Ok(guest)
    }

    /// Holds a guest that was made before.
    pub(crate) fn put(&self, guest: &Arc<Guest>) {
        *self.place.guest.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(guest));
        if self.residents.most_bytes.is_some() {
            self.touch();
        }
        self.residents.hold(&self.place, guest.code_bytes());
    }

    fn here(&self) -> Option<Arc<Guest>> {
        let guest = self.place.guest.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        if self.residents.most_bytes.is_some() {
            self.touch();
        }
        Some(guest)
    }

    fn touch(&self) {
        let now = self.residents.uses.fetch_add(1, Ordering::Relaxed);
        self.place.used.store(now, Ordering::Relaxed);
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        let mut held = self.residents.held();
        if let Some((_, bytes)) = held.places.remove(&self.place.number) {
            held.bytes -= bytes;
        }
    }
}
