//! A probe that tells whether the arguments of a call reached the guest.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext,
};
use wasmtime::component::{ComponentNamedList, ComponentType, Lower};

/// The last argument of a call, or all of them, which notes that it was lowered.
///
/// Wasmtime lowers all arguments before it enters a function, and its error for a place that is
/// none, given by the guest's allocator, has no type. When the last argument was not lowered it was
/// that, and not the result.
pub(super) struct LowerProbe<'a, T> {
    argument: T,
    lowered: &'a AtomicBool,
}

impl<'a, T> LowerProbe<'a, T> {
    pub(super) fn new(argument: T, lowered: &'a AtomicBool) -> Self {
        Self { argument, lowered }
    }
}

// SAFETY: everything is the argument's own.
#[expect(unsafe_code, reason = "Wasmtime's traits are unsafe to implement")]
unsafe impl<T: ComponentNamedList> ComponentNamedList for LowerProbe<'_, T> {}

// SAFETY: as above, and as in Wasmtime's own implementation for `&T`.
#[expect(unsafe_code, reason = "Wasmtime's traits are unsafe to implement")]
unsafe impl<T: ComponentType> ComponentType for LowerProbe<'_, T> {
    type Lower = T::Lower;

    const ABI: CanonicalAbiInfo = T::ABI;
    const MAY_REQUIRE_REALLOC: bool = T::MAY_REQUIRE_REALLOC;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        T::typecheck(ty, types)
    }
}

// SAFETY: as above.
#[expect(unsafe_code, reason = "Wasmtime's traits are unsafe to implement")]
unsafe impl<T: Lower> Lower for LowerProbe<'_, T> {
    fn linear_lower_to_flat<U>(
        &self,
        cx: &mut LowerContext<'_, U>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        self.argument.linear_lower_to_flat(cx, ty, dst)?;
        self.lowered.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn linear_lower_to_memory<U>(
        &self,
        cx: &mut LowerContext<'_, U>,
        ty: InterfaceType,
        offset: usize,
    ) -> wasmtime::Result<()> {
        self.argument.linear_lower_to_memory(cx, ty, offset)?;
        self.lowered.store(true, Ordering::Relaxed);
        Ok(())
    }
}
