//! Timing in rounds: in each, everything that is compared is timed in turn, so that a ratio is of neighbours in time.

use std::time::{Duration, Instant};

use countersign_benches::spread::median;

/// The number of rounds.
const ROUNDS: usize = 15;

/// The time for one subject in a round.
const SLICE: Duration = Duration::from_millis(20);

/// The time of one batch: long for the clock, and short enough that others seldom interrupt it.
const BATCH: Duration = Duration::from_micros(300);

/// The maximum of inputs in a batch, which are made before the time is taken and must fit the cache.
const MAX_BATCH: usize = 256;

/// Something that is timed: its name, and the time of so many iterations.
pub type Subject<'s> = (&'s str, Box<dyn FnMut(usize) -> Duration + 's>);

/// A subject of which each iteration takes an input: made before the time is taken, as the output is dropped after it.
pub fn timed<'s, I, O>(
    name: &'s str,
    mut input: impl FnMut() -> I + 's,
    mut work: impl FnMut(I) -> O + 's,
) -> Subject<'s> {
    let time = move |iterations| {
        let inputs: Vec<_> = (0..iterations).map(|_| input()).collect();
        let mut outputs = Vec::with_capacity(iterations);
        let start = Instant::now();
        outputs.extend(inputs.into_iter().map(&mut work));
        let taken = start.elapsed();
        drop(outputs);
        taken
    };
    (name, Box::new(time))
}

/// Times subjects in rounds: nanoseconds of an iteration, one figure a round for each subject.
pub fn rounds(subjects: &mut [Subject<'_>]) -> Vec<(String, Vec<f64>)> {
    let batches: Vec<_> = subjects.iter_mut().map(|(_, work)| batch(work)).collect();
    let mut figures: Vec<_> =
        subjects.iter().map(|(name, _)| ((*name).to_owned(), Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (((_, work), size), (_, figures)) in subjects.iter_mut().zip(&batches).zip(&mut figures)
        {
            figures.push(slice(work, *size));
        }
    }
    figures
}

/// The number of iterations that take about [`BATCH`], found while the subject warms up.
fn batch(work: &mut dyn FnMut(usize) -> Duration) -> usize {
    let (start, mut size) = (Instant::now(), 1);
    loop {
        let taken = work(size);
        if taken < BATCH && size < MAX_BATCH {
            size *= 2;
        } else if start.elapsed() >= 2 * SLICE {
            return size;
        }
    }
}

/// The median over the batches of a slice, so that an interruption of one does not count.
fn slice(work: &mut dyn FnMut(usize) -> Duration, size: usize) -> f64 {
    let (start, mut figures) = (Instant::now(), Vec::new());
    while figures.is_empty() || start.elapsed() < SLICE {
        figures.push(work(size).as_nanos() as f64 / size as f64);
    }
    median(figures)
}
