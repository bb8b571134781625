//! Counts the instances that a component becomes.
//!
//! Each definition is counted once, when its end is reached, and a use of it adds its count: a
//! component that instantiates one twice which instantiates one twice, 21 times over, is two
//! million instances and 21 additions.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, ElementItems, Instance, Payload,
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
    /// Imports, functions, globals and items of tables of core instances, and functions that
    /// component instances lower: each is linked anew in every evaluation, which costs no fuel.
    pub(super) linked: u64,
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
            Payload::MemorySection(section) => self.add_memories_and_tables(section.count()),
            Payload::TableSection(section) => self.add_memories_and_tables(section.count()),
            // Each instance of a component has an adapter for each function that it lowers.
            Payload::ComponentCanonicalSection(section) => self.add_linked(section.count()),
            Payload::ElementSection(section) => {
                for element in section.clone() {
                    self.add_linked(match element.map_err(malformed)?.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    });
                }
            }
            Payload::ImportSection(section) => self.add_linked(section.count()),
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
            count.core = count.core.saturating_add(more.core);
            count.component = count.component.saturating_add(more.component);
            count.bags = count.bags.saturating_add(more.bags);
            count.memories_and_tables =
                count.memories_and_tables.saturating_add(more.memories_and_tables);
            count.linked = count.linked.saturating_add(more.linked);
        }
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
