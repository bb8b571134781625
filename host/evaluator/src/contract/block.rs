//! The arguments of `evaluate` as one block of a guest's memory.
//!
//! Wasmtime lowers text by text, and calls the guest's allocator for each: two dozen calls, which take longer
//! than most policies. The bytes are the same for every guest but for the addresses in them, so they are laid
//! out once a decision, and a guest takes them in two allocations: the records, and everything that they point
//! to. Only a guest that never gives memory back can take texts that way: see
//! [`ArgumentForm`](super::ArgumentForm).

use wasmtime::component::__internal::LowerContext;
use wasmtime::component::ComponentType;

use super::{
    AuthorKind, Behavior, BuildingBlock, Definition, EvaluateParams, Fact, Implementation, Parent,
    Run, Token, Trigger,
};

/// The size of the two records, which Wasmtime allocates itself.
const RECORDS: usize = <EvaluateParams<'static> as ComponentType>::SIZE32;

/// The alignment of everything behind the records: the largest of the canonical ABI.
const ALIGNMENT: u32 = 8;

/// The two records, and behind them what they point to.
pub(super) struct Block {
    bytes: Vec<u8>,
    /// The places of addresses, which count from the beginning of the block.
    addresses: Vec<usize>,
}

impl Block {
    /// Lays out the arguments.
    pub(super) fn new(run: &Run<'_>, token: &Token<'_>) -> Self {
        let mut block = Self { bytes: Vec::with_capacity(1024), addresses: Vec::with_capacity(32) };
        block.reserve(RECORDS, ALIGNMENT);
        (run, token).write(&mut block, 0);
        block
    }

    /// Copies the arguments into a guest, the records to `place`, which holds so many bytes.
    pub(super) fn lower<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        place: usize,
    ) -> wasmtime::Result<()> {
        let (records, others) = self.bytes.split_at(RECORDS);
        let begin = cx.realloc(0, 0, ALIGNMENT, others.len())?;
        let memory = cx.as_slice_mut();
        copy(memory, place, records)?;
        copy(memory, begin, others)?;
        for at in &self.addresses {
            let to = match at.checked_sub(RECORDS) {
                None => place + at,
                Some(behind) => begin + behind,
            };
            if let Some(address) = memory.get_mut(to..).and_then(|bytes| bytes.first_chunk_mut()) {
                // It points behind the records: nothing else is pointed to.
                let from = u32::from_le_bytes(*address) as usize;
                *address = as_u32(begin + from - RECORDS).to_le_bytes();
            }
        }
        Ok(())
    }

    /// Room at the end of the block, zeros.
    fn reserve(&mut self, bytes: usize, alignment: u32) -> usize {
        let place = self.bytes.len().next_multiple_of(alignment as usize);
        self.bytes.resize(place + bytes, 0);
        place
    }

    fn put<const N: usize>(&mut self, place: usize, bytes: [u8; N]) {
        if let Some(there) = self.bytes.get_mut(place..).and_then(|bytes| bytes.first_chunk_mut()) {
            *there = bytes;
        }
    }

    /// Writes an address and a length.
    fn put_pair(&mut self, place: usize, address: usize, length: usize) {
        self.addresses.push(place);
        self.put(place, as_u32(address).to_le_bytes());
        self.put(place + 4, as_u32(length).to_le_bytes());
    }
}

/// Copies bytes to a place that an allocator gave, which Wasmtime has found to be in the memory.
fn copy(memory: &mut [u8], place: usize, bytes: &[u8]) -> wasmtime::Result<()> {
    memory
        .get_mut(place..)
        .and_then(|memory| memory.get_mut(..bytes.len()))
        .ok_or_else(|| wasmtime::Error::msg("a place outside of the memory"))?
        .copy_from_slice(bytes);
    Ok(())
}

/// Claims are bounded far below what 32 bits can count.
fn as_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// A value as the canonical ABI stores it in a 32-bit memory.
trait Write: ComponentType {
    /// Writes the value to a place that is reserved and aligned for it.
    fn write(&self, block: &mut Block, place: usize);
}

impl Write for u32 {
    fn write(&self, block: &mut Block, place: usize) {
        block.put(place, self.to_le_bytes());
    }
}

impl Write for u64 {
    fn write(&self, block: &mut Block, place: usize) {
        block.put(place, self.to_le_bytes());
    }
}

impl Write for &str {
    fn write(&self, block: &mut Block, place: usize) {
        let address = block.bytes.len();
        block.bytes.extend_from_slice(self.as_bytes());
        block.put_pair(place, address, self.len());
    }
}

impl<T: Write> Write for Option<T> {
    fn write(&self, block: &mut Block, place: usize) {
        if let Some(value) = self {
            block.put(place, [1]);
            value.write(block, next::<T>(&mut (place + 1)));
        }
    }
}

impl<T: Write> Write for Vec<T> {
    fn write(&self, block: &mut Block, place: usize) {
        let address = block.reserve(self.len() * T::SIZE32, T::ALIGN32);
        block.put_pair(place, address, self.len());
        for (index, item) in self.iter().enumerate() {
            item.write(block, address + index * T::SIZE32);
        }
    }
}

impl<T: Write> Write for &T {
    fn write(&self, block: &mut Block, place: usize) {
        (*self).write(block, place);
    }
}

impl<A: Write, B: Write> Write for (A, B) {
    fn write(&self, block: &mut Block, place: usize) {
        let mut end = place;
        self.0.write(block, next::<A>(&mut end));
        self.1.write(block, next::<B>(&mut end));
    }
}

macro_rules! enums {
    ($($ty:ty)*) => {$(
        impl Write for $ty {
            fn write(&self, block: &mut Block, place: usize) {
                block.put(place, [*self as u8]);
            }
        }
    )*};
}

macro_rules! records {
    ($($ty:ident { $($field:ident)* })*) => {$(
        impl Write for $ty<'_> {
            fn write(&self, block: &mut Block, place: usize) {
                // Every field is named, in the order of the contract.
                let Self { $($field),* } = self;
                let mut end = place;
                $($field.write(block, next_of($field, &mut end));)*
            }
        }
    )*};
}

/// The place of the next field, which is of this type, behind the fields that end there.
fn next<T: ComponentType>(end: &mut usize) -> usize {
    let place = end.next_multiple_of(T::ALIGN32 as usize);
    *end = place + T::SIZE32;
    place
}

fn next_of<T: ComponentType>(_: &T, end: &mut usize) -> usize {
    next::<T>(end)
}

enums! { Behavior Implementation AuthorKind }

records! {
    Fact { name value }
    Parent { building_block definition }
    BuildingBlock { id workspace project platform parents }
    Definition { id workspace version implementation }
    Trigger { reason author author_kind }
    Run { id number behavior building_block definition trigger runner facts }
    Token { subject audiences ttl_seconds issued_at }
}
