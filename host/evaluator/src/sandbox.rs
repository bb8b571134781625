//! A guest in a fresh instance: called once, then thrown away.

mod failure;
mod ledger;
mod lowered;

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Linker,
    Lower, TypedFunc, WasmList,
};
use wasmtime::{AsContext, Store};

use self::failure::{fault, fault_of_the_host, is_readable};
use self::ledger::Ledger;
pub(crate) use self::ledger::MAX_TABLE_ELEMENTS;
use self::lowered::Last;
use crate::contract::{
    ConfigureParams, ConfigureResults, DescribeParams, DescribeResults, Description,
    EvaluateParams, EvaluateResults, EvaluateResultsInPlace, Problem, Run, Token, Verdict,
};
use crate::decision::Used;
use crate::engine::Engine;
use crate::fault::Fault;
use crate::lane::Seat;
use crate::limits::Limits;
use crate::policy::MEMORIES_AND_TABLES;
use crate::resident::Loaded;
use crate::snapshot::{STATE_INSTANCE, State, Value};
use crate::text::escape;

/// The largest description or list of problems, as the host holds it.
const MAX_DESCRIPTION_BYTES: usize = 256 << 10;

/// Making a snapshot takes a few times the memory that is in it: read, passed on, searched, written,
/// compiled and loaded. So it may be this part of what preparing may take.
const MEMORY_OF_A_SNAPSHOT: u64 = 64;

/// A component that exports the contract's functions, ready to be instantiated.
pub(crate) struct Guest {
    engine: Engine,
    instance: InstancePre<Ledger>,
    functions: Functions,
    /// It begins in the state that its settings left it in.
    configured: bool,
    seated: Seated,
}

/// Where a guest can be instantiated, and what it takes there.
pub(crate) struct Seated {
    pub(crate) seat: Seat,
    pub(crate) stack_bytes: u32,
    /// Counts its code.
    #[expect(dead_code, reason = "dropped with the guest")]
    pub(crate) loaded: Loaded,
}

/// Where the contract's functions are in the component.
pub(crate) struct Functions {
    pub(crate) describe: ComponentExportIndex,
    pub(crate) configure: ComponentExportIndex,
    pub(crate) evaluate: ComponentExportIndex,
}

const NO_RESTRICT: &str = "its verdict has no `restrict`, which the contract has between `permit` and `deny`; build the \
                           policy again with this version of `wit/policy.wit`";

/// A function whose type is not the contract's.
pub(crate) struct WrongType {
    pub(crate) function: &'static str,
    pub(crate) difference: String,
}

/// The outcome of one evaluation.
pub(crate) struct Answer {
    pub(crate) result: Result<Verdict, Fault>,
    pub(crate) used: Used,
    /// Fuel that `configure` used beside, after a verdict.
    pub(crate) configure_fuel: Option<u64>,
}

/// What a policy took of its limits before it evaluates: the same on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Fuel, of [`Limits::configure_fuel`].
    pub fuel: u64,
    /// Linear memory in bytes, of [`Limits::memory_bytes`].
    pub memory_bytes: u64,
}

impl Guest {
    /// Links a compiled component, which imports nothing.
    pub(crate) fn new(
        engine: Engine,
        component: &Component,
        functions: Functions,
        seated: Seated,
    ) -> wasmtime::Result<Self> {
        let instance = Linker::new(component.engine()).instantiate_pre(component)?;
        Ok(Self { engine, instance, functions, configured: false, seated })
    }

    /// The same guest, whose component is a snapshot: it has taken its settings already.
    pub(crate) fn configured(self) -> Self {
        Self { configured: true, ..self }
    }

    /// Whether it has taken its settings.
    pub(crate) fn is_configured(&self) -> bool {
        self.configured
    }

    /// Where it can be instantiated.
    pub(crate) fn seat(&self) -> Seat {
        self.seated.seat
    }

    /// The stack that it was made for.
    pub(crate) fn stack_bytes(&self) -> u32 {
        self.seated.stack_bytes
    }

    /// The engine that it is of.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
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

    /// Asks the policy what it is.
    pub(crate) fn describe(&self, limits: &Limits) -> Result<(Description, Taken), Fault> {
        let mut sandbox = self.instantiate(limits)?;
        let function = sandbox
            .typed::<DescribeParams, DescribeResults>(&self.functions.describe)
            .map_err(fault_of_the_host)?;
        sandbox.store.set_hostcall_fuel(MAX_DESCRIPTION_BYTES);
        function
            .call(&mut sandbox.store, ())
            .map_err(|error| sandbox.fault(&error).unwrap_or(Fault::BadOutput))
            .and_then(|(description,)| Ok((description, sandbox.taken(limits)?)))
    }

    /// Tries settings. The outer error is a fault, the inner one the policy's own answer.
    pub(crate) fn configure(
        &self,
        limits: &Limits,
        settings: &str,
    ) -> Result<Result<Taken, Vec<Problem>>, Fault> {
        let mut sandbox = self.instantiate(limits)?;
        let answer = sandbox.configure(&self.functions, settings)?;
        let taken = sandbox.taken(limits)?;
        Ok(answer.map(|()| taken))
    }

    /// Tries settings, as [`Guest::configure`] does, and reads the state that they lead to. The inner
    /// error is why it cannot be read.
    #[expect(clippy::type_complexity, reason = "three ways to end")]
    pub(crate) fn configure_and_read(
        &self,
        limits: &Limits,
        settings: &str,
    ) -> Result<Result<(Taken, Result<State, String>), Vec<Problem>>, Fault> {
        let mut sandbox = self.instantiate(limits)?;
        let answer = sandbox.configure(&self.functions, settings)?;
        let taken = sandbox.taken(limits)?;
        Ok(answer.map(|()| (taken, sandbox.read_state(limits))))
    }

    /// Evaluates in a fresh instance.
    pub(crate) fn evaluate(
        &self,
        limits: &Limits,
        settings: &str,
        run: &Run<'_>,
        token: &Token<'_>,
    ) -> Answer {
        let output_bytes = limits.output_bytes as usize;
        match self.evaluate_to::<EvaluateResults>(limits, settings, run, token, output_bytes) {
            Ok(((verdict,), sandbox)) => {
                let left = sandbox.store.get_fuel().ok();
                let used = Used {
                    fuel: left.map(|left| limits.fuel.saturating_sub(left)),
                    memory_bytes: Some(sandbox.store.data().memory_bytes()),
                    output_bytes: Some(verdict.bytes() as u64),
                };
                let configure_fuel = Some(sandbox.configure_fuel);
                Answer { result: Ok(verdict), used, configure_fuel }
            }
            Err(Failure::Fault(fault)) => {
                // After any other trap a store is thrown away, and its readings with it.
                let fuel = matches!(fault, Fault::OutOfFuel { .. }).then_some(limits.fuel);
                let used = Used { fuel, ..Used::default() };
                Answer { result: Err(fault), used, configure_fuel: None }
            }
            Err(Failure::NotLifted) => {
                let fault = self.why_not_lifted(limits, settings, run, token);
                Answer { result: Err(fault), used: Used::default(), configure_fuel: None }
            }
        }
    }

    /// Finds out why a verdict could not be lifted, by evaluating again and leaving it in place.
    ///
    /// Wasmtime tells "too much" from "malformed" only by an error's text. Evaluation is pure, so
    /// a second one, from which nothing is copied, meets the same verdict: if all of it can be
    /// read, then it was its size. By then the guest's `post-return` has run; one that writes over
    /// what it returned can turn the one code into the other, and nothing else.
    fn why_not_lifted(
        &self,
        limits: &Limits,
        settings: &str,
        run: &Run<'_>,
        token: &Token<'_>,
    ) -> Fault {
        type InPlace = EvaluateResultsInPlace;
        match self.evaluate_to::<InPlace>(limits, settings, run, token, usize::MAX) {
            Ok(((verdict,), mut sandbox)) => {
                if is_readable(&verdict, &mut sandbox.store, limits.output_bytes) {
                    Fault::OutputTooLarge { limit: limits.output_bytes }
                } else {
                    Fault::BadOutput
                }
            }
            Err(Failure::NotLifted) => Fault::BadOutput,
            Err(Failure::Fault(fault)) => fault,
        }
    }

    fn evaluate_to<R: ComponentNamedList + Lift>(
        &self,
        limits: &Limits,
        settings: &str,
        run: &Run<'_>,
        token: &Token<'_>,
        output_bytes: usize,
    ) -> Result<(R, Sandbox), Failure> {
        let mut sandbox = self.instantiate(limits)?;
        if !self.configured {
            if sandbox.configure(&self.functions, settings)?.is_err() {
                return Err(Failure::Fault(Fault::Configure));
            }
            sandbox.configure_fuel = sandbox.taken(limits)?.fuel;
        }
        let function = sandbox.evaluate_function::<R>(&self.functions)?;
        sandbox.store.set_hostcall_fuel(output_bytes);
        sandbox.refuel(limits.fuel)?;
        let lowered = AtomicBool::new(false);
        match function.call(&mut sandbox.store, (run, Last::new(token, &lowered))) {
            Ok(results) => Ok((results, sandbox)),
            Err(error) => Err(match sandbox.fault(&error) {
                Some(fault) => Failure::Fault(fault),
                None if lowered.into_inner() => Failure::NotLifted,
                None => Failure::Fault(Fault::allocator()),
            }),
        }
    }

    /// Makes a fresh instance with the fuel of `configure`, and starts its wall-clock limit.
    fn instantiate(&self, limits: &Limits) -> Result<Sandbox, Fault> {
        let mut store = Store::new(self.component().engine(), Ledger::new(limits));
        store.limiter(|ledger| ledger);
        store.set_epoch_deadline(ticks(limits));
        store.set_fuel(limits.configure_fuel).map_err(fault_of_the_host)?;
        match self.instance.instantiate(&mut store) {
            Ok(instance) => Ok(Sandbox { store, instance, configure_fuel: 0 }),
            Err(error) => Err(fault(&error, &store).unwrap_or_else(|| fault_of_the_host(error))),
        }
    }
}

/// The wall-clock limit in ticks of the engine.
fn ticks(limits: &Limits) -> u64 {
    let tick_ms = u32::try_from(Engine::TICK.as_millis()).unwrap_or(u32::MAX);
    u64::from(limits.wall_clock_ms.div_ceil(tick_ms)) + 1
}

fn no_state() -> wasmtime::Error {
    wasmtime::Error::msg("its functions are not there")
}

/// How an evaluation can end without a verdict.
enum Failure {
    /// The guest faulted.
    Fault(Fault),
    /// The guest returned, and what it returned is malformed or too large.
    NotLifted,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// An instance and the store that it lives in.
struct Sandbox {
    store: Store<Ledger>,
    instance: Instance,
    /// Fuel that `configure` used.
    configure_fuel: u64,
}

impl Sandbox {
    fn configure(
        &mut self,
        functions: &Functions,
        settings: &str,
    ) -> Result<Result<(), Vec<Problem>>, Fault> {
        let function = self
            .typed::<(Last<'_, &str>,), ConfigureResults>(&functions.configure)
            .map_err(fault_of_the_host)?;
        self.store.set_hostcall_fuel(MAX_DESCRIPTION_BYTES);
        let lowered = AtomicBool::new(false);
        function
            .call(&mut self.store, (Last::new(settings, &lowered),))
            .map(|(problems,)| problems)
            .map_err(|error| match self.fault(&error) {
                Some(fault) => fault,
                None if lowered.load(Ordering::Relaxed) => Fault::BadOutput,
                None => Fault::allocator(),
            })
    }

    /// The function that evaluates.
    ///
    /// Its types are not compared again: [`Guest::check_types`] did so for this component, and a
    /// snapshot's component has the same ones.
    fn evaluate_function<'a, R: ComponentNamedList + Lift>(
        &mut self,
        functions: &Functions,
    ) -> Result<TypedFunc<(&'a Run<'a>, Last<'a, &'a Token<'a>>), R>, Fault> {
        let function = self
            .instance
            .get_func(&mut self.store, functions.evaluate)
            .ok_or_else(|| Fault::Host { problem: "a function is missing".to_owned() })?;
        // SAFETY: the types were compared when the policy was loaded. `EvaluateResultsInPlace` has the
        // type of `EvaluateResults`: it lifts the same values in another way.
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

    /// Reads every memory and mutable global of an observable component, or says why not.
    fn read_state(&mut self, limits: &Limits) -> Result<State, String> {
        let taken = self.store.data().memory_bytes();
        let most = limits.prepare_memory_bytes / MEMORY_OF_A_SNAPSHOT;
        if taken > most {
            return Err(format!(
                "with its settings it has {taken} bytes of memory, and {most} are taken into a \
                 snapshot: 1/{MEMORY_OF_A_SNAPSHOT} of `prepare-memory-bytes`, which a binding can raise"
            ));
        }
        self.store.data_mut().allow_more(MEMORIES_AND_TABLES.into());
        self.store.set_hostcall_fuel(usize::MAX);
        let mut read = || -> wasmtime::Result<State> {
            // What is read is counted nowhere; it takes a few instructions a memory or global.
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

    /// What was taken before the first refuelling.
    fn taken(&self, limits: &Limits) -> Result<Taken, Fault> {
        let left = self.store.get_fuel().map_err(fault_of_the_host)?;
        let fuel = limits.configure_fuel.saturating_sub(left);
        Ok(Taken { fuel, memory_bytes: self.store.data().memory_bytes() })
    }

    fn refuel(&mut self, fuel: u64) -> Result<(), Fault> {
        self.store.data_mut().fuel_limit = fuel;
        self.store.set_fuel(fuel).map_err(fault_of_the_host)
    }

    fn fault(&self, error: &wasmtime::Error) -> Option<Fault> {
        fault(error, self.store.as_context())
    }
}
