//! The arguments of `evaluate`, made once a decision and lowered into each guest.

use std::mem::MaybeUninit;

use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext,
};
use wasmtime::component::{ComponentNamedList, ComponentType, Lower};

use super::block::Block;
use super::{EvaluateParams, Run, Token};
use crate::request::claims::Claims;

/// The custom section of a core module whose allocator gives each byte out once and never takes it back.
///
/// All arguments of `evaluate` then come in two allocations of `cabi_realloc`: one of the two records, and one of
/// everything that they point to. A guest that has the section and another allocator corrupts its own memory, and
/// nobody else's.
pub(crate) const ONE_WAY_MEMORY: &str = "countersign:one-way-memory";

/// The way in which a guest takes the arguments of `evaluate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArgumentForm {
    /// Each text and each list in an allocation of its own, as any guest can take them.
    Values,
    /// All of them in one allocation, for a guest whose [memory is one-way](ONE_WAY_MEMORY).
    Block,
}

/// The claims, as guests see them.
pub(crate) struct Arguments<'a> {
    run: Run<'a>,
    token: Token<'a>,
    block: Block,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(claims: &'a Claims) -> Self {
        let (run, token) = (Run::new(claims), Token::new(claims));
        let block = Block::new(&run, &token);
        Self { run, token, block }
    }

    /// The arguments in this form.
    pub(crate) fn in_form<'b>(&'b self, form: ArgumentForm) -> LoweredArguments<'b, 'a> {
        LoweredArguments { arguments: self, form }
    }
}

/// The arguments on their way into a guest.
pub(crate) struct LoweredArguments<'b, 'a> {
    arguments: &'b Arguments<'a>,
    form: ArgumentForm,
}

impl<'b> LoweredArguments<'b, '_> {
    fn values(&self) -> (&'b Run<'b>, &'b Token<'b>) {
        (&self.arguments.run, &self.arguments.token)
    }
}

// SAFETY: everything is that of a tuple of the same two values.
#[expect(unsafe_code, reason = "Wasmtime's traits are unsafe to implement")]
unsafe impl ComponentNamedList for LoweredArguments<'_, '_> {}

// SAFETY: as above.
#[expect(unsafe_code, reason = "Wasmtime's traits are unsafe to implement")]
unsafe impl ComponentType for LoweredArguments<'_, '_> {
    type Lower = <EvaluateParams<'static> as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <EvaluateParams<'static> as ComponentType>::ABI;
    const MAY_REQUIRE_REALLOC: bool = true;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        <EvaluateParams<'static> as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: `Block` writes what the tuple would write, but for the addresses; a test compares them.
#[expect(unsafe_code, reason = "Wasmtime's traits are unsafe to implement")]
unsafe impl Lower for LoweredArguments<'_, '_> {
    fn linear_lower_to_flat<U>(
        &self,
        cx: &mut LowerContext<'_, U>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        self.values().linear_lower_to_flat(cx, ty, dst)
    }

    fn linear_lower_to_memory<U>(
        &self,
        cx: &mut LowerContext<'_, U>,
        ty: InterfaceType,
        offset: usize,
    ) -> wasmtime::Result<()> {
        match self.form {
            // The block's texts are in UTF-8.
            ArgumentForm::Block if cx.options().string_encoding == StringEncoding::Utf8 => {
                self.arguments.block.lower(cx, offset)
            }
            _ => self.values().linear_lower_to_memory(cx, ty, offset),
        }
    }
}
