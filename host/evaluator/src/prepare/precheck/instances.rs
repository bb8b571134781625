//! Counts the instances that a component becomes.
//!
//! Each definition is counted once, when its end is reached, and a use of it adds its count: a
//! component that instantiates one twice which instantiates one twice, 21 times over, is two
//! million instances and 21 additions.

use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, ElementItems, Instance, Payload, TypeRef,
};

use super::malformed;
use crate::prepare::load_error::LoadError;

/// The maximum of core instances that are only made of exports: they run nothing.
pub(super) const BAGS: u64 = 1_000;

/// The numbers of instances that a component becomes when it is instantiated once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) core: u64,
    pub(super) component: u64,
    pub(super) memories_and_tables: u64,
    /// Core instances that are only made of exports.
    pub(super) bags: u64,
    /// Imports, functions and globals of core instances, and canonical functions of component instances: each is linked
    /// or initialised anew in every evaluation.
    pub(super) linked: u64,
    /// Items of the segments of tables, likewise.
    pub(super) items: u64,
    /// Segments, passive ones too, likewise.
    pub(super) segments: u64,
    /// Functions that component instances lower. A policy imports nothing, so each is a sibling's, for which an adapter
    /// is compiled.
    pub(super) lowered: u64,
}

/// Units of fuel for a thing that an instance links or initialises, and for an item of a table: nanoseconds, as a unit of
/// fuel is one or less.
const LINKED_FUEL: u64 = 10;
const ITEM_FUEL: u64 = 40;

impl Count {
    /// The fuel of making the instances, which no instruction is charged for.
    pub(super) fn fuel(&self) -> u64 {
        let linked = self.linked.saturating_add(self.segments).saturating_mul(LINKED_FUEL);
        linked.saturating_add(self.items.saturating_mul(ITEM_FUEL))
    }

    fn plus(self, more: Self) -> Self {
        Self {
            core: self.core.saturating_add(more.core),
            component: self.component.saturating_add(more.component),
            memories_and_tables: self.memories_and_tables.saturating_add(more.memories_and_tables),
            bags: self.bags.saturating_add(more.bags),
            linked: self.linked.saturating_add(more.linked),
            items: self.items.saturating_add(more.items),
            segments: self.segments.saturating_add(more.segments),
            lowered: self.lowered.saturating_add(more.lowered),
        }
    }
}

/// The components that are being read, outermost first, with the definitions in each.
#[derive(Default)]
pub(super) struct Components {
    open: Vec<Frame>,
    expanded: Count,
}

/// A component or module that is being read.
#[derive(Default)]
struct Frame {
    is_module: bool,
    /// Imported ones too.
    memories: u32,
    count: Count,
    /// The component index space: the count of each, and `None` where it comes from elsewhere.
    components: Vec<Option<Count>>,
    /// The module index space, likewise.
    modules: Vec<Option<Count>>,
}

impl Components {
    /// The count of the whole, once it has been read.
    pub(super) fn expanded(&self) -> Count {
        self.expanded
    }

    /// Takes note of a payload.
    pub(super) fn observe(&mut self, payload: &Payload<'_>) -> Result<(), LoadError> {
        match payload {
            Payload::Version { encoding, .. } => {
                let is_module = *encoding == wasmparser::Encoding::Module;
                self.open.push(Frame { is_module, ..Frame::default() });
            }
            Payload::End(_) => self.close(),
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    self.add(match instance.map_err(malformed)? {
                        Instance::Instantiate { module_index, .. } => {
                            Count { core: 1, ..self.module(0, module_index)? }
                        }
                        Instance::FromExports(_) => Count { bags: 1, ..Count::default() },
                    });
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    let more = match instance.map_err(malformed)? {
                        ComponentInstance::Instantiate { component_index, .. } => {
                            self.component(0, component_index)?
                        }
                        ComponentInstance::FromExports(_) => Count::default(),
                    };
                    self.add(Count { component: more.component.saturating_add(1), ..more });
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    match alias.map_err(malformed)? {
                        ComponentAlias::Outer {
                            kind: ComponentOuterAliasKind::Component,
                            count,
                            index,
                        } => {
                            let known = self.component(count, index).ok();
                            self.define(known);
                        }
                        ComponentAlias::Outer {
                            kind: ComponentOuterAliasKind::CoreModule,
                            count,
                            index,
                        } => {
                            let known = self.module(count, index).ok();
                            self.define_module(known);
                        }
                        ComponentAlias::InstanceExport { kind, .. } => match kind {
                            ComponentExternalKind::Component => self.define(None),
                            ComponentExternalKind::Module => self.define_module(None),
                            _ => {}
                        },
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    match import.map_err(malformed)?.ty {
                        ComponentTypeRef::Component(_) => self.define(None),
                        ComponentTypeRef::Module(_) => self.define_module(None),
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export.map_err(malformed)?;
                    match export.kind {
                        ComponentExternalKind::Component => {
                            let known = self.component(0, export.index).ok();
                            self.define(known);
                        }
                        ComponentExternalKind::Module => {
                            let known = self.module(0, export.index).ok();
                            self.define_module(known);
                        }
                        _ => {}
                    }
                }
            }
            Payload::MemorySection(section) => {
                self.add_memories_and_tables(section.count());
                self.one_memory(section.count())?;
            }
            Payload::TableSection(section) => self.add_memories_and_tables(section.count()),
            // Each instance of a component has an adapter for each function that it lowers.
            Payload::ComponentCanonicalSection(section) => {
                self.add_linked(section.count());
                for function in section.clone() {
                    let lowers =
                        matches!(function.map_err(malformed)?, CanonicalFunction::Lower { .. });
                    self.add(Count { lowered: lowers.into(), ..Count::default() });
                }
            }
            Payload::ElementSection(section) => {
                self.add_segments(section.count());
                for element in section.clone() {
                    let items = match element.map_err(malformed)?.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    };
                    self.add(Count { items: items.into(), ..Count::default() });
                }
            }
            Payload::DataSection(section) => self.add_segments(section.count()),
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    self.add_linked(1);
                    if let TypeRef::Memory(_) = import.map_err(malformed)?.ty {
                        self.one_memory(1)?;
                    }
                }
            }
            Payload::FunctionSection(section) => self.add_linked(section.count()),
            Payload::GlobalSection(section) => self.add_linked(section.count()),
            _ => {}
        }
        Ok(())
    }

    /// The count of a module by its index, `outward` components out.
    fn module(&self, outward: u32, index: u32) -> Result<Count, LoadError> {
        self.open
            .iter()
            .rev()
            .nth(outward as usize)
            .and_then(|frame| frame.modules.get(index as usize))
            .copied()
            .flatten()
            .ok_or_else(|| LoadError::Invalid {
                problem: "instantiates a module that is not defined within it".to_owned(),
            })
    }

    /// The count of a component by its index, `outward` components out.
    fn component(&self, outward: u32, index: u32) -> Result<Count, LoadError> {
        self.open
            .iter()
            .rev()
            .nth(outward as usize)
            .and_then(|frame| frame.components.get(index as usize))
            .copied()
            .flatten()
            .ok_or_else(|| LoadError::Invalid {
                problem: "instantiates a component that is not defined within it".to_owned(),
            })
    }

    fn define(&mut self, component: Option<Count>) {
        if let Some(frame) = self.open.last_mut() {
            frame.components.push(component);
        }
    }

    fn define_module(&mut self, module: Option<Count>) {
        if let Some(frame) = self.open.last_mut() {
            frame.modules.push(module);
        }
    }

    fn add(&mut self, more: Count) {
        if let Some(Frame { count, .. }) = self.open.last_mut() {
            *count = count.plus(more);
        }
    }

    /// Counts memories of a module, which has one at most. Wasmtime takes several, since the adapters that it makes for
    /// the calls between components have the memories of both.
    fn one_memory(&mut self, more: u32) -> Result<(), LoadError> {
        let Some(frame) = self.open.last_mut() else { return Ok(()) };
        frame.memories = frame.memories.saturating_add(more);
        if frame.memories > 1 {
            return Err(LoadError::Invalid { problem: "a module has several memories".to_owned() });
        }
        Ok(())
    }

    fn add_segments(&mut self, more: u32) {
        self.add(Count { segments: more.into(), ..Count::default() });
    }

    fn add_memories_and_tables(&mut self, more: u32) {
        self.add(Count { memories_and_tables: more.into(), ..Count::default() });
    }

    fn add_linked(&mut self, more: u32) {
        self.add(Count { linked: more.into(), ..Count::default() });
    }

    fn close(&mut self) {
        match self.open.pop() {
            Some(frame) if self.open.is_empty() => self.expanded = frame.count,
            Some(frame) if frame.is_module => self.define_module(Some(frame.count)),
            Some(frame) => self.define(Some(frame.count)),
            None => {}
        }
    }
}
