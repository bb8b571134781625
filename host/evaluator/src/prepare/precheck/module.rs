//! The types and functions of a core module, as far as the cost of compiling its bodies depends on them.

use wasmparser::{CompositeInnerType, Payload, TypeRef};

use super::{at_most, malformed};
use crate::prepare::load_error::LoadError;

/// The maximum of parameters and results of one function type, which blocks have too. Each is a register or a place on
/// the stack at every call and join. The canonical ABI passes 16 at most, and compilers of C and Rust some dozens.
const VALUES: u64 = 256;

/// The core module that is being read.
#[derive(Default)]
pub(super) struct Module {
    types: Vec<Signature>,
    /// By function, its type. The imported ones come first.
    functions: Vec<u32>,
    imported: usize,
    /// The number of bodies that were read.
    bodies: usize,
}

/// The numbers of parameters and results of a function or a block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Signature {
    pub(super) params: u64,
    pub(super) results: u64,
}

impl Signature {
    pub(super) fn values(self) -> u64 {
        self.params.saturating_add(self.results)
    }
}

impl Module {
    /// Takes note of a payload of a core module.
    pub(super) fn observe(&mut self, payload: &Payload<'_>) -> Result<(), LoadError> {
        match payload {
            Payload::Version { .. } => *self = Self::default(),
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    for ty in group.map_err(malformed)?.into_types() {
                        let signature = match ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => Signature {
                                params: ty.params().len() as u64,
                                results: ty.results().len() as u64,
                            },
                            // Not allowed, and refused when it is validated.
                            _ => Signature::default(),
                        };
                        at_most("values of one function type", signature.values(), VALUES)?;
                        self.types.push(signature);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    if let TypeRef::Func(ty) | TypeRef::FuncExact(ty) =
                        import.map_err(malformed)?.ty
                    {
                        self.functions.push(ty);
                        self.imported += 1;
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section.clone() {
                    self.functions.push(ty.map_err(malformed)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The type of the body that comes next.
    pub(super) fn next_body(&mut self) -> Signature {
        let function = self.imported.saturating_add(self.bodies);
        self.bodies = self.bodies.saturating_add(1);
        self.function(u32::try_from(function).unwrap_or(u32::MAX))
    }

    /// A type by its index; none where there is no such type, which does not validate.
    pub(super) fn signature(&self, ty: u32) -> Signature {
        self.types.get(ty as usize).copied().unwrap_or_default()
    }

    /// The type of a function by its index.
    pub(super) fn function(&self, function: u32) -> Signature {
        let ty = self.functions.get(function as usize).copied();
        ty.map_or_else(Signature::default, |ty| self.signature(ty))
    }
}
