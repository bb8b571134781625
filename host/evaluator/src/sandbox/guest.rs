//! A guest in a fresh instance: called once, then thrown away.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Linker,
    Lower, TypedFunc, WasmList,
};
use wasmtime::{AsContext, Store, Trap};

use super::bounds::{MEMORIES_AND_TABLES, TICK};
use super::code_cache::CodeBytes;
use super::evaluation_outcome::EvaluationOutcome;
use super::failure::{ConfigureFault, classify_lift_failure, fault, fault_of_the_host, stage};
use super::ledger::Ledger;
use super::lowered::LowerProbe;
use super::scheduler::WorkerSlot;
use crate::contract::{
    Arguments, ConfigureParams, ConfigureResults, DescribeParams, DescribeResults, Description,
    EvaluateParams, EvaluateResults, LoweredArguments, Problem, Verdict,
};
use crate::decision::fault::Fault;
use crate::limits::{ConfigureUsage, EvaluationUsage, Limits};
use crate::prepare::component::{Functions, Shape, WrongType};
use crate::prepare::guarded;
use crate::prepare::snapshot::{STATE_INSTANCE, State, Value};
use crate::text::escape;

/// The largest description or list of problems in bytes, as the host holds it.
const MAX_DESCRIPTION_BYTES: usize = 256 << 10;

/// The part of the memory for preparing that a snapshot's own memory may be. Making one takes a few times
/// the memory that is in it: read, passed on, searched, written, compiled and loaded.
const SNAPSHOT_MEMORY_SHARE: u64 = 64;

const NO_RESTRICT: &str = "its verdict has no `restrict`, which the contract has between `permit` and `deny`; build the \
                           policy again with this version of `wit/policy.wit`";

/// A component that exports the contract's functions, ready to be instantiated.
pub(crate) struct Guest {
    instance: InstancePre<Ledger>,
    functions: Functions,
    shape: Shape,
    /// It begins in the state that its settings left it in.
    configured: bool,
    placement: Placement,
}

/// The settings were rejected.
pub(crate) struct Rejection {
    /// The problems that the policy finds with them.
    pub(crate) problems: Vec<Problem>,
    /// The usage until it had found them.
    pub(crate) usage: ConfigureUsage,
}

/// The worker slot of a guest, and the stack that it has there.
pub(crate) struct Placement {
    pub(crate) slot: WorkerSlot,
    pub(crate) stack_bytes: u32,
    /// Counts its code.
    #[expect(dead_code, reason = "dropped with the guest")]
    pub(crate) code: CodeBytes,
}

impl Guest {
    /// Links a compiled component, which imports nothing.
    pub(crate) fn new(
        component: &Component,
        functions: Functions,
        shape: Shape,
        placement: Placement,
    ) -> wasmtime::Result<Self> {
        let instance = Linker::new(component.engine()).instantiate_pre(component)?;
        Ok(Self { instance, functions, shape, configured: false, placement })
    }

    /// The same guest, whose component is a snapshot: it has taken its settings already.
    pub(crate) fn configured(self) -> Self {
        Self { configured: true, ..self }
    }

    /// Tells whether it has taken its settings.
    pub(crate) fn is_configured(&self) -> bool {
        self.configured
    }

    /// The worker slot that it can be instantiated on.
    pub(crate) fn slot(&self) -> WorkerSlot {
        self.placement.slot
    }

    /// The stack that it was made for.
    pub(crate) fn stack_bytes(&self) -> u32 {
        self.placement.stack_bytes
    }

    /// The shape of its component.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The compiled component.
    pub(crate) fn component(&self) -> &Component {
        self.instance.component()
    }

    /// Compares the types of the three functions with the contract's, to the last field.
    pub(crate) fn check_types(&self, limits: &Limits) -> Result<Result<(), WrongType>, Fault> {
        let mut sandbox = self.instantiate(limits)?;
        let Functions { describe, configure, evaluate } = &self.functions;
        let checks = [
            ("describe", sandbox.typed::<DescribeParams, DescribeResults>(describe).err()),
            ("configure", sandbox.typed::<ConfigureParams<'_>, ConfigureResults>(configure).err()),
            ("evaluate", sandbox.typed::<EvaluateParams<'_>, EvaluateResults>(evaluate).err()),
        ];
        Ok(checks.into_iter().try_for_each(|(function, error)| match error {
            None => Ok(()),
            Some(_) if function == "evaluate" && sandbox.verdict_lacks_restrict(evaluate) => {
                Err(WrongType { function, difference: NO_RESTRICT.to_owned() })
            }
            Some(error) => {
                Err(WrongType { function, difference: escape(&format!("{error:#}"), 512) })
            }
        }))
    }

    /// Calls `describe`.
    pub(crate) fn describe(&self, limits: &Limits) -> Result<(Description, ConfigureUsage), Fault> {
        let mut sandbox = self.instantiate(limits)?;
        let function = sandbox
            .typed::<DescribeParams, DescribeResults>(&self.functions.describe)
            .map_err(fault_of_the_host)?;
        sandbox.store.set_hostcall_fuel(MAX_DESCRIPTION_BYTES);
        function
            .call(&mut sandbox.store, ())
            .map_err(|error| sandbox.fault(&error).unwrap_or(Fault::BadOutput))
            .and_then(|(description,)| Ok((description, sandbox.usage(limits)?)))
    }

    /// Calls `configure`. The outer error is a fault, the inner one the problems that the policy finds.
    pub(crate) fn configure(
        &self,
        limits: &Limits,
        settings: &str,
    ) -> Result<Result<ConfigureUsage, Rejection>, ConfigureFault> {
        let mut sandbox = self.instantiate(limits)?;
        let accepted = sandbox.configure(&self.functions, settings)?;
        let usage = sandbox.usage(limits)?;
        Ok(accepted.map(|()| usage).map_err(|problems| Rejection { problems, usage }))
    }

    /// Calls `configure`, as [`Guest::configure`] does, and reads the state that it leads to. The innermost
    /// error is the reason why it cannot be read.
    #[expect(clippy::type_complexity, reason = "three ways to end")]
    pub(crate) fn configure_and_read(
        &self,
        limits: &Limits,
        settings: &str,
    ) -> Result<Result<(ConfigureUsage, Result<State, String>), Rejection>, ConfigureFault> {
        let mut sandbox = self.instantiate(limits)?;
        let accepted = sandbox.configure(&self.functions, settings)?;
        let usage = sandbox.usage(limits)?;
        Ok(accepted
            .map(|()| (usage, sandbox.read_state(limits)))
            .map_err(|problems| Rejection { problems, usage }))
    }

    /// Evaluates in a fresh instance. A panic of the host is a fault.
    pub(crate) fn evaluate(
        &self,
        limits: &Limits,
        settings: &str,
        arguments: &Arguments<'_>,
    ) -> EvaluationOutcome {
        let evaluated = AssertUnwindSafe(|| self.evaluate_unguarded(limits, settings, arguments));
        catch_unwind(evaluated).unwrap_or_else(|panic| {
            let problem = format!("panicked: {}", guarded::message(&*panic));
            EvaluationOutcome::fault(Fault::Host { problem: escape(&problem, 512) })
        })
    }

    fn evaluate_unguarded(
        &self,
        limits: &Limits,
        settings: &str,
        arguments: &Arguments<'_>,
    ) -> EvaluationOutcome {
        match self.call_evaluate(limits, settings, arguments) {
            Ok((verdict, sandbox)) => {
                let left = sandbox.store.get_fuel().ok();
                let usage = EvaluationUsage {
                    fuel: left.map(|left| limits.fuel.saturating_sub(left)),
                    memory_bytes: Some(sandbox.store.data().memory_bytes()),
                    output_bytes: Some(verdict.bytes() as u64),
                };
                let configure_fuel = Some(sandbox.configure_fuel);
                EvaluationOutcome { result: Ok(verdict), usage, configure_fuel }
            }
            Err(Ended { fault, left }) => {
                let fuel = match fault {
                    Fault::OutOfFuel { .. } => Some(limits.fuel),
                    _ => left.map(|left| limits.fuel.saturating_sub(left)),
                };
                let usage = EvaluationUsage { fuel, ..EvaluationUsage::default() };
                EvaluationOutcome { result: Err(fault), usage, configure_fuel: None }
            }
        }
    }

    fn call_evaluate(
        &self,
        limits: &Limits,
        settings: &str,
        arguments: &Arguments<'_>,
    ) -> Result<(Verdict, Sandbox), Ended> {
        let mut sandbox = self.instantiate(limits)?;
        if !self.configured {
            let configured = sandbox.configure(&self.functions, settings);
            if configured.map_err(|failed| failed.fault)?.is_err() {
                return Err(Fault::Configure.into());
            }
            sandbox.configure_fuel = sandbox.usage(limits)?.fuel;
        }
        let function = sandbox.evaluate_function(&self.functions)?;
        // The verdict is measured against this while it is lifted, before anything of it is copied.
        sandbox.store.set_hostcall_fuel(limits.output_bytes as usize);
        sandbox.refuel(limits.fuel)?;
        let lowered = AtomicBool::new(false);
        let arguments = LowerProbe::new(arguments.in_form(self.shape.form), &lowered);
        match function.call(&mut sandbox.store, arguments) {
            Ok((verdict,)) => Ok((verdict, sandbox)),
            Err(error) => {
                let fault = sandbox.fault(&error).unwrap_or_else(|| match lowered.into_inner() {
                    true => classify_lift_failure(&error, limits.output_bytes),
                    false => Fault::allocator(),
                });
                // Compiled code writes its counter down before `unreachable`. At any other trap it is in a register, and
                // what the store has is from some call before.
                let trap = error.downcast_ref::<Trap>();
                let is_written = trap.is_some_and(|t| *t == Trap::UnreachableCodeReached);
                let left = is_written.then(|| sandbox.store.get_fuel().ok()).flatten();
                Err(Ended { fault, left })
            }
        }
    }

    /// Makes a fresh instance with the fuel of `configure`, and starts its wall-clock limit.
    fn instantiate(&self, limits: &Limits) -> Result<Sandbox, Fault> {
        let mut store = Store::new(self.component().engine(), Ledger::new(limits));
        store.limiter(|ledger| ledger);
        store.set_epoch_deadline(ticks(limits));
        // Wasmtime charges nothing for what it links and initialises, and nothing interrupts it.
        let fuel = limits.configure_fuel.checked_sub(self.shape.instantiation_fuel);
        let fuel = fuel.ok_or(Fault::OutOfFuel { limit: limits.configure_fuel })?;
        store.set_fuel(fuel).map_err(fault_of_the_host)?;
        match self.instance.instantiate(&mut store) {
            Ok(instance) => {
                let configure_fuel = self.shape.instantiation_fuel;
                Ok(Sandbox { store, instance, configure_fuel })
            }
            Err(error) => Err(fault(&error, &store).unwrap_or_else(|| fault_of_the_host(error))),
        }
    }
}

/// The wall-clock limit in ticks of the engine.
fn ticks(limits: &Limits) -> u64 {
    let tick_ms = u32::try_from(TICK.as_millis()).unwrap_or(u32::MAX);
    u64::from(limits.wall_clock_ms.div_ceil(tick_ms)) + 1
}

fn no_state() -> wasmtime::Error {
    wasmtime::Error::msg("its functions are not there")
}

/// The contract's `evaluate`, which takes claims in either form.
type EvaluateFunction<'b, 'a> =
    TypedFunc<LowerProbe<'b, LoweredArguments<'b, 'a>>, EvaluateResults>;

/// The end of an evaluation that gave no verdict.
struct Ended {
    fault: Fault,
    /// Fuel of `evaluate` that was left, where the reading can be trusted.
    left: Option<u64>,
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self { fault, left: None }
    }
}

/// An instance and the store that it lives in.
struct Sandbox {
    store: Store<Ledger>,
    instance: Instance,
    /// Fuel that making the instance used, and `configure`.
    configure_fuel: u64,
}

impl Sandbox {
    fn configure(
        &mut self,
        functions: &Functions,
        settings: &str,
    ) -> Result<Result<(), Vec<Problem>>, ConfigureFault> {
        let function = self
            .typed::<(LowerProbe<'_, &str>,), ConfigureResults>(&functions.configure)
            .map_err(fault_of_the_host)?;
        self.store.set_hostcall_fuel(MAX_DESCRIPTION_BYTES);
        let lowered = AtomicBool::new(false);
        function
            .call(&mut self.store, (LowerProbe::new(settings, &lowered),))
            .map(|(problems,)| problems)
            .map_err(|error| match self.fault(&error) {
                Some(fault @ Fault::Panic { .. }) => fault.into(),
                Some(fault) => {
                    ConfigureFault { fault, stage: stage(&error, self.store.as_context()) }
                }
                None if lowered.load(Ordering::Relaxed) => Fault::BadOutput.into(),
                None => Fault::allocator().into(),
            })
    }

    /// The function that evaluates.
    ///
    /// Its types are not compared again: [`Guest::check_types`] did so for this component, and a
    /// snapshot's component has the same ones.
    fn evaluate_function<'b, 'a>(
        &mut self,
        functions: &Functions,
    ) -> Result<EvaluateFunction<'b, 'a>, Fault> {
        let function = self
            .instance
            .get_func(&mut self.store, functions.evaluate)
            .ok_or_else(|| Fault::Host { problem: "a function is missing".to_owned() })?;
        // SAFETY: the types were compared when the policy was loaded.
        #[expect(unsafe_code, reason = "comparing them takes as long as a short evaluation")]
        Ok(unsafe { TypedFunc::new_unchecked(function) })
    }

    fn typed<P: ComponentNamedList + Lower, R: ComponentNamedList + Lift>(
        &mut self,
        function: &ComponentExportIndex,
    ) -> wasmtime::Result<TypedFunc<P, R>> {
        self.instance.get_typed_func(&mut self.store, function)
    }

    /// Tells whether the component was built for the contract as it was before verdicts had `restrict`.
    fn verdict_lacks_restrict(&mut self, evaluate: &ComponentExportIndex) -> bool {
        let Some(function) = self.instance.get_func(&mut self.store, evaluate) else {
            return false;
        };
        match function.ty(&self.store).results().next() {
            Some(Type::Variant(verdict)) => {
                verdict.cases().map(|case| case.name).eq(["permit", "deny", "abstain"])
            }
            _ => false,
        }
    }

    /// Reads every memory and mutable global of an instrumented component, or says why it cannot.
    fn read_state(&mut self, limits: &Limits) -> Result<State, String> {
        let memory = self.store.data().memory_bytes();
        let max = limits.prepare_memory_bytes / SNAPSHOT_MEMORY_SHARE;
        if memory > max {
            return Err(format!(
                "with its settings it has {memory} bytes of memory, and a snapshot holds at most {max}: \
                 1/{SNAPSHOT_MEMORY_SHARE} of `prepare-memory-bytes`, which a binding can raise"
            ));
        }
        self.store.data_mut().allow_more(MEMORIES_AND_TABLES.into());
        self.store.set_hostcall_fuel(usize::MAX);
        let mut read = || -> wasmtime::Result<State> {
            // Reading is counted nowhere; it takes a few instructions a memory or global.
            self.store.set_fuel(limits.configure_fuel)?;
            self.store.set_epoch_deadline(ticks(limits));
            let engine = self.store.engine().clone();
            let component = self.instance.instance_pre(&self.store).component().clone();
            let (item, instance) =
                component.get_export(None, STATE_INSTANCE).ok_or_else(no_state)?;
            let ComponentItem::ComponentInstance(exports) = item else { return Err(no_state()) };
            let mut state = State::default();
            for (name, item) in exports.exports(&engine) {
                let ComponentItem::ComponentFunc(function) = item.ty else {
                    return Err(no_state());
                };
                let (_, index) =
                    component.get_export(Some(&instance), name).ok_or_else(no_state)?;
                match function.results().next() {
                    Some(Type::S32) => state.set(name, Value::S32(self.call(&index)?)),
                    Some(Type::S64) => state.set(name, Value::S64(self.call(&index)?)),
                    Some(Type::Float32) => {
                        state.set(name, Value::F32(self.call::<f32>(&index)?.to_bits()))
                    }
                    Some(Type::Float64) => {
                        state.set(name, Value::F64(self.call::<f64>(&index)?.to_bits()))
                    }
                    _ => {
                        let memory: WasmList<u8> = self.call(&index)?;
                        state.set_memory(name, memory.as_le_slice(&self.store));
                    }
                }
            }
            Ok(state)
        };
        read().map_err(|error| escape(&format!("its state could not be read: {error:#}"), 256))
    }

    fn call<R: Lift + 'static>(&mut self, function: &ComponentExportIndex) -> wasmtime::Result<R> {
        let function = self.typed::<(), (R,)>(function)?;
        Ok(function.call(&mut self.store, ())?.0)
    }

    /// The usage before the first refuelling.
    fn usage(&self, limits: &Limits) -> Result<ConfigureUsage, Fault> {
        let left = self.store.get_fuel().map_err(fault_of_the_host)?;
        let fuel = limits.configure_fuel.saturating_sub(left);
        Ok(ConfigureUsage { fuel, memory_bytes: self.store.data().memory_bytes() })
    }

    fn refuel(&mut self, fuel: u64) -> Result<(), Fault> {
        self.store.data_mut().fuel_limit = fuel;
        self.store.set_fuel(fuel).map_err(fault_of_the_host)
    }

    fn fault(&self, error: &wasmtime::Error) -> Option<Fault> {
        fault(error, self.store.as_context())
    }
}
