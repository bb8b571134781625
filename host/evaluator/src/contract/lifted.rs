//! Texts and lists that are measured in the guest's memory, and only then copied out of it.
//!
//! Wasmtime's own `String` and `Vec` tell "too much" from "malformed" only by an error's text, and its
//! borrowed `WasmStr` and `WasmList` can be read only when the guest's `post-return` has run, which frees
//! what they point to. These are lifted as Wasmtime lifts its own, before `post-return`, and fail with a
//! [`LiftFailed`].

use std::ops::Deref;

use wasmtime::ValRaw;
use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext};
use wasmtime::component::{ComponentType, Lift};

/// The bit of a length that tells UTF-16 from Latin-1 in the encoding that has both.
const UTF16_TAG: usize = 1 << 31;

/// The reason why a value could not be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LiftFailed {
    /// With it, the values lifted so far are larger than the store's fuel for host calls.
    #[error("more than the host takes")]
    TooLarge,
    /// It lies outside of the memory, is misaligned, or is no text.
    #[error("not a value of its type")]
    Malformed,
}

/// A text, copied.
pub(crate) struct Text(String);

/// A list, copied.
pub(crate) struct List<T>(Vec<T>);

impl Text {
    fn lift(cx: &mut LiftContext<'_>, pointer: u32, length: u32) -> wasmtime::Result<Self> {
        let (pointer, length) = (pointer as usize, length as usize);
        let (bytes, alignment, decode): (_, _, Decode) = match cx.options().string_encoding {
            StringEncoding::Utf8 => (Some(length), 1, utf8),
            StringEncoding::Utf16 => (length.checked_mul(2), 2, utf16),
            StringEncoding::CompactUtf16 if length & UTF16_TAG == 0 => (Some(length), 2, latin1),
            StringEncoding::CompactUtf16 => ((length ^ UTF16_TAG).checked_mul(2), 2, utf16),
        };
        let bytes = in_memory(cx, pointer, bytes, alignment)?;
        // Decoding takes time and memory by the size, so the size comes first.
        cx.consume_fuel(bytes.len()).map_err(|_| LiftFailed::TooLarge)?;
        Ok(Self(decode(bytes).ok_or(LiftFailed::Malformed)?))
    }
}

type Decode = fn(&[u8]) -> Option<String>;

fn utf8(bytes: &[u8]) -> Option<String> {
    str::from_utf8(bytes).ok().map(str::to_owned)
}

fn utf16(bytes: &[u8]) -> Option<String> {
    let units = bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

fn latin1(bytes: &[u8]) -> Option<String> {
    Some(bytes.iter().copied().map(char::from).collect())
}

impl<T: Lift> List<T> {
    fn lift(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        pointer: u32,
        length: u32,
    ) -> wasmtime::Result<Self> {
        let InterfaceType::List(index) = ty else { return Err(LiftFailed::Malformed.into()) };
        let element = cx.types[index].element;
        let (pointer, length) = (pointer as usize, length as usize);
        let bytes = in_memory(cx, pointer, length.checked_mul(T::SIZE32), T::ALIGN32 as usize)?;
        cx.consume_fuel_array(length, size_of::<T>()).map_err(|_| LiftFailed::TooLarge)?;
        let mut items = Vec::with_capacity(length);
        for item in bytes.chunks_exact(T::SIZE32) {
            items.push(T::linear_lift_from_memory(cx, element, item)?);
        }
        Ok(Self(items))
    }
}

/// The bytes of a value in the guest's memory.
fn in_memory<'m>(
    cx: &LiftContext<'m>,
    pointer: usize,
    bytes: Option<usize>,
    alignment: usize,
) -> Result<&'m [u8], LiftFailed> {
    let end = bytes.and_then(|bytes| pointer.checked_add(bytes));
    end.filter(|_| pointer.is_multiple_of(alignment))
        .and_then(|end| cx.memory().get(pointer..end))
        .ok_or(LiftFailed::Malformed)
}

/// Pointer and length, as a value in memory begins with them.
fn pair(bytes: &[u8]) -> Result<(u32, u32), LiftFailed> {
    match bytes.as_chunks() {
        ([pointer, length], []) => Ok((u32::from_le_bytes(*pointer), u32::from_le_bytes(*length))),
        _ => Err(LiftFailed::Malformed),
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

// SAFETY: type and layout are those of a string.
#[expect(unsafe_code, reason = "Wasmtime's traits are unsafe to implement")]
unsafe impl ComponentType for Text {
    type Lower = <str as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::POINTER_PAIR;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        <str as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: reads what Wasmtime's own implementation for `String` reads, by slices of the memory.
#[expect(unsafe_code, reason = "Wasmtime's traits are unsafe to implement")]
unsafe impl Lift for Text {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        _: InterfaceType,
        [pointer, length]: &[ValRaw; 2],
    ) -> wasmtime::Result<Self> {
        Self::lift(cx, pointer.get_u32(), length.get_u32())
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        _: InterfaceType,
        bytes: &[u8],
    ) -> wasmtime::Result<Self> {
        let (pointer, length) = pair(bytes)?;
        Self::lift(cx, pointer, length)
    }
}

// SAFETY: type and layout are those of a list.
#[expect(unsafe_code, reason = "Wasmtime's traits are unsafe to implement")]
unsafe impl<T: ComponentType> ComponentType for List<T> {
    type Lower = <[T] as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::POINTER_PAIR;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        <[T] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: reads what Wasmtime's own implementation for `Vec` reads, by slices of the memory.
#[expect(unsafe_code, reason = "Wasmtime's traits are unsafe to implement")]
unsafe impl<T: Lift> Lift for List<T> {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        [pointer, length]: &[ValRaw; 2],
    ) -> wasmtime::Result<Self> {
        Self::lift(cx, ty, pointer.get_u32(), length.get_u32())
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> wasmtime::Result<Self> {
        let (pointer, length) = pair(bytes)?;
        Self::lift(cx, ty, pointer, length)
    }
}
