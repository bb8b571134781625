//! A component as bytes and as compiled code, checked to be one that a policy can be.

use wasmparser::{Parser, Payload};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex};

use super::load_error::LoadError;
use super::precheck;
use super::snapshot::STATE_INSTANCE;
use crate::contract::{self, ArgumentForm, INTERFACE, INTERFACE_STEM, ONE_WAY_MEMORY};
use crate::limits::Limits;
use crate::text::escape;

const FUNCTIONS: [&str; 3] = ["describe", "configure", "evaluate"];

/// The indices of the contract's functions in a component.
pub(crate) struct Functions {
    pub(crate) describe: ComponentExportIndex,
    pub(crate) configure: ComponentExportIndex,
    pub(crate) evaluate: ComponentExportIndex,
}

/// A function whose type is not the contract's.
pub(crate) struct WrongType {
    pub(crate) function: &'static str,
    pub(crate) difference: String,
}

/// The names that a component imports, without compiling it.
///
/// # Errors
/// When the bytes are no component, end early or are malformed.
pub fn imports(component: &[u8]) -> Result<Vec<String>, LoadError> {
    if !component.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm);
    }
    if Parser::is_core_wasm(component) {
        return Err(LoadError::CoreModule);
    }
    let mut names = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(precheck::malformed)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.push(import.map_err(precheck::malformed)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Checks everything that can be checked before a component is compiled.
pub(super) fn check_component(bytes: &[u8], limits: &Limits) -> Result<(), LoadError> {
    check_size(bytes, limits)?;
    if let Some(name) = imports(bytes)?.first() {
        return Err(LoadError::Import { name: escape(name, 256) });
    }
    precheck::precheck(bytes)
}

/// The facts about a component that its compiled code does not tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// The way in which it takes the arguments of `evaluate`.
    pub(crate) form: ArgumentForm,
    /// The fuel of making its instances.
    pub(crate) instantiation_fuel: u64,
}

impl Shape {
    /// The shape of a component that was checked, or will be.
    pub(super) fn of(component: &[u8]) -> Self {
        let instantiation_fuel = precheck::instantiation_fuel(component);
        Self { form: argument_form(component), instantiation_fuel }
    }
}

/// The way in which a component takes the arguments of `evaluate`: as a block if its only core module says
/// that its [memory is one-way](ONE_WAY_MEMORY). Of several modules, one may free what another one was given.
fn argument_form(component: &[u8]) -> ArgumentForm {
    let (mut modules, mut in_module, mut says_so) = (0, false, false);
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. }) => (modules, in_module) = (modules + 1, true),
            Ok(Payload::End(_)) => in_module = false,
            Ok(Payload::CustomSection(section)) if in_module => {
                says_so |= section.name() == ONE_WAY_MEMORY;
            }
            Ok(_) => {}
            // It is refused elsewhere.
            Err(_) => return ArgumentForm::Values,
        }
    }
    if says_so && modules == 1 { ArgumentForm::Block } else { ArgumentForm::Values }
}

pub(super) fn check_size(bytes: &[u8], limits: &Limits) -> Result<(), LoadError> {
    let limit = limits.component_bytes;
    if bytes.len() as u64 > limit {
        return Err(LoadError::TooLarge { bytes: bytes.len(), limit });
    }
    Ok(())
}

pub(super) fn invalid(error: &wasmtime::Error) -> LoadError {
    LoadError::Invalid { problem: escape(&format!("{error:#}"), 512) }
}

/// Finds the contract's functions. The version must match to the digit: Wasmtime would also take
/// a compatible one, but a newer minor version may call on what this host does not have.
pub(super) fn functions(component: &Component) -> Result<Functions, LoadError> {
    let ty = component.component_type();
    let exports: Vec<String> = ty
        .exports(component.engine())
        // The host's own, by which state is read.
        .filter(|(name, _)| *name != STATE_INSTANCE)
        .map(|(name, _)| name.to_owned())
        .collect();
    if !exports.iter().any(|name| name == INTERFACE) {
        return Err(missing_interface(&exports));
    }
    let Some((ComponentItem::ComponentInstance(_), interface)) =
        component.get_export(None, INTERFACE)
    else {
        return Err(missing_interface(&exports));
    };
    let [describe, configure, evaluate] =
        FUNCTIONS.map(|function| match component.get_export(Some(&interface), function) {
            Some((ComponentItem::ComponentFunc(_), index)) => Ok(index),
            _ => Err(LoadError::MissingFunction { function: function.into() }),
        });
    Ok(Functions { describe: describe?, configure: configure?, evaluate: evaluate? })
}

fn missing_interface(exports: &[String]) -> LoadError {
    match exports.iter().find_map(|name| name.strip_prefix(INTERFACE_STEM)) {
        Some(version) if version != "1.0.0" => LoadError::UnsupportedVersion {
            version: escape(version, 64),
            remedy: match semver::Version::parse(version) {
                Ok(v) if (v.major, v.minor, v.patch) > contract::VERSION => {
                    "use a newer host, or build the policy for 1.0.0".into()
                }
                _ => "build the policy for 1.0.0".into(),
            },
        },
        _ => {
            let list =
                exports.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let exports = if list.is_empty() { "none".to_owned() } else { escape(&list, 512) };
            LoadError::MissingInterface { exports }
        }
    }
}
