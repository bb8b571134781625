//! Compiled code in memory, within a bound.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crossbeam_utils::CachePadded;

use super::scheduler::WorkerSlot;

/// The compiled code that an engine holds, within a bound. Beyond it the least recently used goes first,
/// and is made again when it is needed.
///
/// It knows nothing of what it holds: its values are some `T` for each worker slot.
pub(crate) struct CodeCache<T> {
    max_bytes: Option<u64>,
    /// The bytes of code that is held, and of code that was evicted and is still in use.
    bytes: Arc<AtomicU64>,
    /// Counts uses. An entry's number is that of its last one.
    uses: AtomicU64,
    entries: Mutex<Entries<T>>,
}

struct Entries<T> {
    numbers: u64,
    by_number: HashMap<u64, Weak<Entry<T>>>,
}

/// So many bytes of compiled code, counted as long as this lives.
pub(crate) struct CodeBytes {
    bytes: u64,
    total: Arc<AtomicU64>,
}

/// A slot of the cache for one program, which holds it for some worker slots, or for none.
pub(crate) struct CodeSlot<T> {
    entry: Arc<Entry<T>>,
    cache: Arc<CodeCache<T>>,
    workers: usize,
}

type Held<T> = Mutex<Option<Arc<T>>>;

struct Entry<T> {
    number: u64,
    /// Made when the first value is held: most entries of a large set hold none.
    workers: OnceLock<Box<[CachePadded<Held<T>>]>>,
    used: AtomicU64,
    /// Held by whoever makes the value, so that it is made once.
    making: Mutex<()>,
}

impl<T> CodeCache<T> {
    pub(crate) fn new(max_bytes: Option<u64>) -> Self {
        Self {
            max_bytes,
            bytes: Arc::default(),
            uses: AtomicU64::new(0),
            entries: Mutex::new(Entries { numbers: 0, by_number: HashMap::new() }),
        }
    }

    /// The bytes of compiled code that are held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts compiled code.
    pub(crate) fn count(&self, bytes: u64) -> CodeBytes {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        CodeBytes { bytes, total: Arc::clone(&self.bytes) }
    }

    fn entries(&self) -> MutexGuard<'_, Entries<T>> {
        lock(&self.entries)
    }

    /// Evicts the least recently used until the rest is within the bound: first values that are also held
    /// for another worker slot, which are copied again in no time, and then the others, but never the one
    /// of `entry` for `worker`.
    fn evict(&self, entry: &Entry<T>, worker: WorkerSlot) {
        let Some(max) = self.max_bytes else { return };
        if self.bytes() <= max {
            return;
        }
        let entries = self.entries();
        let mut by_use: Vec<_> = entries
            .by_number
            .values()
            .filter_map(Weak::upgrade)
            .map(|entry| (entry.used.load(Ordering::Relaxed), entry))
            .collect();
        drop(entries);
        by_use.sort_unstable_by_key(|(used, _)| *used);
        // A tenth more than must go, so that not every evaluation evicts.
        let enough = || self.bytes() <= max / 10 * 9;
        for (_, other) in &by_use {
            if enough() {
                return;
            }
            other.drop_all_but(if other.number == entry.number {
                Some(worker)
            } else {
                other.any()
            });
        }
        for (_, other) in by_use.iter().filter(|(_, other)| other.number != entry.number) {
            if enough() {
                return;
            }
            other.drop_all_but(None);
        }
    }
}

impl<T> Entry<T> {
    /// A worker slot for which a value is held.
    fn any(&self) -> Option<WorkerSlot> {
        self.workers().iter().position(|held| lock(held).is_some()).map(WorkerSlot)
    }

    /// Drops the values of all worker slots but one. An evaluation that is under way keeps its own.
    fn drop_all_but(&self, kept: Option<WorkerSlot>) {
        for (number, held) in self.workers().iter().enumerate() {
            if kept != Some(WorkerSlot(number)) {
                let _dropped_after_the_lock = lock(held).take();
            }
        }
    }

    fn workers(&self) -> &[CachePadded<Held<T>>] {
        self.workers.get().map(|workers| &**workers).unwrap_or_default()
    }
}

impl Drop for CodeBytes {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl<T> CodeSlot<T> {
    /// A slot that holds nothing yet, for so many worker slots.
    pub(crate) fn new(cache: &Arc<CodeCache<T>>, workers: usize) -> Self {
        let mut entries = cache.entries();
        entries.numbers += 1;
        let entry = Arc::new(Entry {
            number: entries.numbers,
            workers: OnceLock::new(),
            used: AtomicU64::new(0),
            making: Mutex::new(()),
        });
        entries.by_number.insert(entry.number, Arc::downgrade(&entry));
        drop(entries);
        Self { entry, cache: Arc::clone(cache), workers }
    }

    /// The value of any worker slot; where there is none, it is made and held for the slot that `make`
    /// names.
    pub(crate) fn any_or_make<E>(
        &self,
        make: impl FnOnce() -> Result<(WorkerSlot, Arc<T>), E>,
    ) -> Result<Arc<T>, E> {
        if let Some(value) = self.any() {
            return Ok(value);
        }
        let _making = lock(&self.entry.making);
        if let Some(value) = self.any() {
            return Ok(value);
        }
        let (worker, value) = make()?;
        self.put(worker, &value);
        Ok(value)
    }

    /// Holds a value for a worker slot.
    pub(crate) fn put(&self, worker: WorkerSlot, value: &Arc<T>) {
        let workers = self
            .entry
            .workers
            .get_or_init(|| (0..self.workers).map(|_| CachePadded::default()).collect());
        if let Some(held) = workers.get(worker.0) {
            *lock(held) = Some(Arc::clone(value));
        }
        self.touch();
        self.cache.evict(&self.entry, worker);
    }

    /// The value of a worker slot, if it is held.
    pub(crate) fn at(&self, worker: WorkerSlot) -> Option<Arc<T>> {
        let value = lock(self.entry.workers().get(worker.0)?).clone()?;
        self.touch();
        Some(value)
    }

    fn any(&self) -> Option<Arc<T>> {
        (0..self.entry.workers().len()).find_map(|worker| self.at(WorkerSlot(worker)))
    }

    fn touch(&self) {
        // All processors write to it, so only where there is a bound.
        if self.cache.max_bytes.is_some() {
            let now = self.cache.uses.fetch_add(1, Ordering::Relaxed);
            self.entry.used.store(now, Ordering::Relaxed);
        }
    }
}

impl<T> Drop for CodeSlot<T> {
    fn drop(&mut self) {
        self.cache.entries().by_number.remove(&self.entry.number);
    }
}

/// Nothing panics while it holds one of these locks; if something did, what they guard would be right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    struct Program {
        name: &'static str,
        #[expect(dead_code, reason = "counted until dropped")]
        bytes: CodeBytes,
    }

    fn put(
        cache: &Arc<CodeCache<Program>>,
        slot: &CodeSlot<Program>,
        worker: usize,
        name: &'static str,
    ) {
        slot.put(WorkerSlot(worker), &Arc::new(Program { name, bytes: cache.count(10) }));
    }

    fn held(slot: &CodeSlot<Program>) -> [bool; 2] {
        [0, 1]
            .map(|worker| slot.entry.workers().get(worker).is_some_and(|held| lock(held).is_some()))
    }

    #[test]
    fn copies_go_first_and_then_the_least_recently_used() {
        let cache = Arc::new(CodeCache::new(Some(30)));
        let [old, new] = [0, 1].map(|_| CodeSlot::new(&cache, 2));
        put(&cache, &old, 0, "old");
        put(&cache, &old, 1, "old");
        put(&cache, &new, 0, "new");
        assert_eq!((held(&old), held(&new), cache.bytes()), ([true, true], [true, false], 30));
        // One too many: the copy goes, and one of each stays.
        put(&cache, &new, 1, "new");
        assert_eq!((held(&old), held(&new)), ([true, false], [false, true]));
        let third = CodeSlot::new(&cache, 2);
        put(&cache, &third, 0, "third");
        put(&cache, &third, 1, "third");
        assert_eq!((held(&old), held(&new)), ([false, false], [false, true]));
        assert_eq!(new.any_or_make::<()>(|| Err(())).map(|program| program.name), Ok("new"));
        drop((old, new, third));
        assert_eq!(cache.bytes(), 0);
        assert!(cache.entries().by_number.is_empty());
    }

    #[test]
    fn one_in_use_is_counted_until_it_is_dropped() {
        let cache = Arc::new(CodeCache::new(Some(10)));
        let [first, second] = [0, 1].map(|_| CodeSlot::new(&cache, 1));
        put(&cache, &first, 0, "first");
        let in_use = first.at(WorkerSlot(0)).unwrap();
        put(&cache, &second, 0, "second");
        assert!(first.at(WorkerSlot(0)).is_none());
        assert_eq!(cache.bytes(), 20);
        drop(in_use);
        assert_eq!(cache.bytes(), 10);
    }
}
