//! The check of a component before it is compiled.
//!
//! Compiling is the one place where Wasmtime promises nothing: a component of two kilobytes can
//! expand to seconds and hundreds of megabytes. This lets through only components that are bounded in everything
//! that such ones use: instances counted as they will be instantiated, functions, their
//! bodies, loops and locals, types. The bounds are above what compilers emit, those of
//! interpreters included.

mod body;
mod instances;
mod module;
mod weights;

use wasmparser::{ComponentDefinedType, ComponentType, DataKind, ElementItems, Parser, Payload};

use self::instances::{Components, Count};
use self::module::Module;
use super::load_error::LoadError;
use crate::sandbox::bounds::{
    COMPONENT_INSTANCES, CORE_INSTANCES, MAX_LOADED_TABLE_ELEMENTS, MEMORIES_AND_TABLES,
};
use crate::text::escape;

/// The number of functions that a component may always have, whatever its size.
const FUNCTIONS: u64 = 10_000;

/// Beyond that, one function for so many bytes of the component.
const BYTES_A_FUNCTION: u64 = 100;

/// The maximum of modules and components, and of their nesting.
const PARTS: u64 = 64;
const NESTED_PARTS: usize = 8;

/// The maxima of types and of their members, over the whole component.
const TYPES: u64 = 10_000;
const TYPE_MEMBERS: u64 = 1_000;

/// The maximum of bytes in type sections that can open the type of a component or an instance (0x41,
/// 0x42; some are letters or indices). Such types nest, and every reader of them recurses, so their
/// depth is bounded before one is read: a deeper one would overflow the stack and abort the process.
/// wasmparser 0.254 does not bound it; a later one that does makes this needless.
const NESTED_TYPES: u64 = 500;

/// `componentize-py`, the largest that was measured, makes 8,345.
const IMPORTS_AND_EXPORTS: u64 = 50_000;

/// The elements of all tables together when they are made, also of modules that are not
/// instantiated: Wasmtime prepares an image of each.
const TABLE_ELEMENTS: u64 = MAX_LOADED_TABLE_ELEMENTS as u64;
const GLOBALS: u64 = 10_000;
/// A snapshot of an interpreter with 9 MB of memory was measured at 20,001.
const SEGMENTS: u64 = 40_000;

/// The bytes of globals, of the segments of tables and of the places of data: expressions and items that
/// are compiled one by one, into a single function.
const INITIALISER_BYTES: u64 = 256 << 10;

/// The functions that siblings in a component lower, once instantiated: an adapter is compiled for each.
const LOWERED: u64 = 1_000;

/// Those times the members of all types: an adapter has code for each member of its function's types.
const LOWERED_TIMES_MEMBERS: u64 = 1_000_000;

/// The counts so far.
#[derive(Default)]
struct Totals {
    weight: u64,
    type_members: u64,
    functions: u64,
    parts: u64,
    types: u64,
    nested_types: u64,
    table_elements: u64,
    imports_and_exports: u64,
    globals: u64,
    segments: u64,
    initialisers: u64,
}

/// The fuel of making the instances of a component that was checked.
pub(super) fn instantiation_fuel(component: &[u8]) -> u64 {
    let mut components = Components::default();
    for payload in Parser::new(0).parse_all(component) {
        // It is refused elsewhere.
        if payload.is_ok_and(|payload| components.observe(&payload).is_err()) {
            break;
        }
    }
    components.expanded().fuel()
}

/// Refuses a component that would cost too much to compile or to instantiate.
pub(super) fn precheck(component: &[u8]) -> Result<(), LoadError> {
    let functions = FUNCTIONS.max(component.len() as u64 / BYTES_A_FUNCTION);
    let mut totals = Totals::default();
    let mut components = Components::default();
    let mut module = Module::default();
    let weight = weights::BASE.max((component.len() as u64).saturating_mul(weights::A_BYTE));
    let mut nested = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(malformed)?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                nested += 1;
                at_most("nested modules and components", nested as u64, NESTED_PARTS as u64)?;
                count(&mut totals.parts, "modules and components", 1, PARTS)?;
            }
            Payload::End(_) => nested = nested.saturating_sub(1),
            Payload::FunctionSection(section) => {
                count(&mut totals.functions, "functions", section.count(), functions)?;
            }
            Payload::CodeSectionEntry(body) => {
                let signature = module.next_body();
                let more = body::check(body, &module, signature)?;
                count(&mut totals.weight, "units of compiling", more, weight)?;
            }
            Payload::TypeSection(section) => {
                count(&mut totals.types, "types", section.count(), TYPES)?;
            }
            Payload::CoreTypeSection(section) => {
                count(&mut totals.types, "types", section.count(), TYPES)?;
            }
            Payload::ComponentTypeSection(section) => {
                let bytes = component.get(section.range()).unwrap_or(component);
                let openings = bytes.iter().filter(|byte| matches!(byte, 0x41 | 0x42)).count();
                count(&mut totals.nested_types, "nested types", openings, NESTED_TYPES)?;
                count(&mut totals.types, "types", section.count(), TYPES)?;
                for ty in section.clone() {
                    component_type(&ty.map_err(malformed)?, &mut totals)?;
                }
            }
            Payload::ImportSection(section) => totals.imports_and_exports(section.count())?,
            Payload::ExportSection(section) => totals.imports_and_exports(section.count())?,
            Payload::ComponentImportSection(section) => {
                totals.imports_and_exports(section.count())?;
            }
            Payload::ComponentExportSection(section) => {
                totals.imports_and_exports(section.count())?;
            }
            Payload::ComponentCanonicalSection(section) => {
                totals.imports_and_exports(section.count())?;
            }
            Payload::ComponentAliasSection(section) => {
                totals.imports_and_exports(section.count())?;
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    let elements = table.map_err(malformed)?.ty.initial;
                    count(&mut totals.table_elements, "table elements", elements, TABLE_ELEMENTS)?;
                }
            }
            Payload::GlobalSection(section) => {
                count(&mut totals.globals, "globals", section.count(), GLOBALS)?;
                initialisers(&mut totals, &section.range())?;
            }
            Payload::ElementSection(section) => {
                count(&mut totals.segments, "segments", section.count(), SEGMENTS)?;
                initialisers(&mut totals, &section.range())?;
                for element in section.clone() {
                    let items = match element.map_err(malformed)?.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    };
                    let more = weights::items(items.into());
                    count(&mut totals.weight, "units of compiling", more, weight)?;
                }
            }
            Payload::DataSection(section) => {
                count(&mut totals.segments, "segments", section.count(), SEGMENTS)?;
                for segment in section.clone() {
                    if let DataKind::Active { offset_expr, .. } = segment.map_err(malformed)?.kind {
                        initialisers(&mut totals, &offset_expr.get_binary_reader().range())?;
                    }
                }
            }
            _ => {}
        }
        module.observe(&payload)?;
        components.observe(&payload)?;
    }
    let Count { core, component, memories_and_tables, bags, linked, items, segments, lowered } =
        components.expanded();
    // A component that is instantiated once passes with all that it has.
    let max_linked = functions + IMPORTS_AND_EXPORTS + GLOBALS;
    for (what, found, limit) in [
        ("core instances once instantiated", core, CORE_INSTANCES.into()),
        ("core instances of exports once instantiated", bags, instances::BAGS),
        ("component instances once instantiated", component, COMPONENT_INSTANCES.into()),
        (
            "imports, functions, globals and items once instantiated",
            linked.saturating_add(items),
            max_linked,
        ),
        ("segments once instantiated", segments, SEGMENTS),
        ("calls between components once instantiated", lowered, LOWERED),
        (
            "calls between components times members of types",
            lowered.saturating_mul(totals.type_members),
            LOWERED_TIMES_MEMBERS,
        ),
        ("memories and tables once instantiated", memories_and_tables, MEMORIES_AND_TABLES.into()),
    ] {
        at_most(what, found, limit)?;
    }
    Ok(())
}

fn initialisers(totals: &mut Totals, range: &std::ops::Range<usize>) -> Result<(), LoadError> {
    let what = "bytes of globals, segments of tables and places of data";
    count(&mut totals.initialisers, what, range.len(), INITIALISER_BYTES)
}

impl Totals {
    fn members(&mut self, more: usize) -> Result<(), LoadError> {
        self.type_members = self.type_members.saturating_add(more as u64);
        at_most("members of one type", more as u64, TYPE_MEMBERS)
    }

    fn imports_and_exports(&mut self, more: u32) -> Result<(), LoadError> {
        count(
            &mut self.imports_and_exports,
            "imports, exports and aliases",
            more,
            IMPORTS_AND_EXPORTS,
        )
    }
}

/// Bounds the members of a type, and counts the types within one of a component or an instance.
fn component_type(ty: &ComponentType<'_>, totals: &mut Totals) -> Result<(), LoadError> {
    match ty {
        ComponentType::Defined(defined) => {
            let members = match defined {
                ComponentDefinedType::Record(fields) => fields.len(),
                ComponentDefinedType::Variant(cases) => cases.len(),
                ComponentDefinedType::Tuple(types) => types.len(),
                ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => {
                    names.len()
                }
                _ => 1,
            };
            totals.members(members)
        }
        ComponentType::Func(ty) => totals.members(ty.params.len() + 1),
        ComponentType::Component(declarations) => {
            count(&mut totals.types, "types", declarations.len(), TYPES)?;
            declarations.iter().try_for_each(|declaration| match declaration {
                wasmparser::ComponentTypeDeclaration::Type(ty) => component_type(ty, totals),
                _ => Ok(()),
            })
        }
        ComponentType::Instance(declarations) => {
            count(&mut totals.types, "types", declarations.len(), TYPES)?;
            declarations.iter().try_for_each(|declaration| match declaration {
                wasmparser::InstanceTypeDeclaration::Type(ty) => component_type(ty, totals),
                _ => Ok(()),
            })
        }
        ComponentType::Resource { .. } => Ok(()),
    }
}

fn count(
    total: &mut u64,
    what: &'static str,
    more: impl TryInto<u64>,
    limit: u64,
) -> Result<(), LoadError> {
    *total = total.saturating_add(more.try_into().unwrap_or(u64::MAX));
    at_most(what, *total, limit)
}

fn at_most(what: &'static str, found: u64, limit: u64) -> Result<(), LoadError> {
    if found <= limit {
        Ok(())
    } else {
        Err(LoadError::TooComplex { what: what.into(), found, limit })
    }
}

pub(super) fn malformed(error: wasmparser::BinaryReaderError) -> LoadError {
    LoadError::Invalid { problem: escape(&error.to_string(), 512) }
}
