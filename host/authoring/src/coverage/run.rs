//! Runs a marked module case by case.

use countersign::{Claims, Limits};
use wasmtime::component::{Component, Linker};
use wasmtime::{
    AsContextMut, Config, Engine, OptLevel, Store, StoreLimits, StoreLimitsBuilder, Trap,
    WasmCoreDump,
};

use super::guest::{self, TokenPolicy, TokenPolicyPre};
use super::marks::Marked;
use super::{CoverageError, of_module};

/// The factor on the fuel of the limits: code that is not optimised takes more instructions.
const FUEL_TIMES: u64 = 100;

/// A policy that marks what it runs.
pub(super) struct Guest<'m> {
    engine: Engine,
    policy: TokenPolicyPre<StoreLimits>,
    marked: &'m Marked,
    configure_fuel: u64,
    evaluate_fuel: u64,
}

/// The end of a case.
pub(super) struct Ran {
    pub(super) answer: Answer,
    /// Offsets of the blocks that were run.
    pub(super) reached: Vec<usize>,
    /// Fuel that it used, or all that it had where no reading can be trusted.
    pub(super) fuel: u64,
}

pub(super) enum Answer {
    /// The settings were taken, and no verdict was requested.
    Configured,
    /// The settings were not taken.
    Problems,
    /// `permit`, `restrict`, `deny` or `abstain`.
    Verdict(&'static str),
    /// The trap that ended it before it answered.
    Trap(String),
}

impl<'m> Guest<'m> {
    pub(super) fn new(marked: &'m Marked, limits: &Limits) -> Result<Self, CoverageError> {
        let component = countersign_component::component(&marked.module).map_err(of_module)?;
        let engine = Engine::new(&config()).map_err(alternate)?;
        let component = Component::new(&engine, component).map_err(alternate)?;
        let linker = Linker::new(&engine);
        let policy = linker.instantiate_pre(&component).and_then(TokenPolicyPre::new);
        Ok(Self {
            policy: policy.map_err(alternate)?,
            engine,
            marked,
            configure_fuel: limits.configure_fuel.saturating_mul(FUEL_TIMES),
            evaluate_fuel: limits.fuel.saturating_mul(FUEL_TIMES),
        })
    }

    /// Configures the policy, and evaluates it if there are claims.
    pub(super) fn run(&self, settings: &str, claims: Option<&Claims>) -> Result<Ran, String> {
        let max = usize::try_from(Limits::CEILING.memory_bytes).unwrap_or(usize::MAX);
        let limits = StoreLimitsBuilder::new().memory_size(max).build();
        let mut store = Store::new(&self.engine, limits);
        store.limiter(|limits| limits);
        let instance = self.policy.instantiate(&mut store).map_err(|e| format!("{e:#}"))?;
        let mut given = 0;
        let answered = self.answer(&mut store, &instance, settings, claims, &mut given);
        let left = store.get_fuel().map_err(|e| format!("{e:#}"))?;
        let (answer, left, trap) = match answered {
            Ok(answer) => (answer, left, ended(&mut store, &instance)?),
            Err(trap) => {
                // As in the sandbox that decides: only before `unreachable` is the counter written down.
                let code = trap.downcast_ref::<Trap>();
                let is_written = code.is_some_and(|code| *code == Trap::UnreachableCodeReached);
                let left = if is_written { left } else { 0 };
                (Answer::Trap(trap.root_cause().to_string()), left, trap)
            }
        };
        let fuel = given.saturating_sub(left);
        Ok(Ran { answer, reached: self.marks(&store, &trap), fuel })
    }

    /// Answers, and sums in `given` the fuel that it may have used when it ends.
    fn answer(
        &self,
        mut store: &mut Store<StoreLimits>,
        instance: &TokenPolicy,
        settings: &str,
        claims: Option<&Claims>,
        given: &mut u64,
    ) -> wasmtime::Result<Answer> {
        let policy = instance.countersign_policy_policy();
        store.set_fuel(self.configure_fuel)?;
        *given = self.configure_fuel;
        if policy.call_configure(&mut store, settings)?.is_err() {
            return Ok(Answer::Problems);
        }
        let Some(claims) = claims else { return Ok(Answer::Configured) };
        // What is given is what was used so far, and all that is left to use.
        *given = given.saturating_sub(store.get_fuel()?).saturating_add(self.evaluate_fuel);
        store.set_fuel(self.evaluate_fuel)?;
        let (run, token) = (guest::run(claims), guest::token(claims));
        let verdict = policy.call_evaluate(&mut store, &run, &token)?;
        Ok(Answer::Verdict(guest::word(&verdict)))
    }

    /// Returns the blocks marked in the memory that a trap left behind; none where it left none.
    fn marks(&self, store: &Store<StoreLimits>, trap: &wasmtime::Error) -> Vec<usize> {
        let dump = trap.downcast_ref::<WasmCoreDump>();
        let start = self.marked.address as usize;
        let memories = dump.map(WasmCoreDump::memories).unwrap_or_default();
        let marks = memories.iter().find_map(|memory| memory.data(store).get(start..));
        let marks = marks.unwrap_or_default().iter().zip(&self.marked.blocks);
        marks.filter(|(mark, _)| **mark != 0).map(|(_, block)| *block).collect()
    }
}

/// Ends an instance that has not ended by itself: without fuel the next call traps before it does anything, and as any
/// trap it leaves the memory behind.
fn ended(
    store: &mut Store<StoreLimits>,
    instance: &TokenPolicy,
) -> Result<wasmtime::Error, String> {
    store.set_fuel(0).map_err(|error| format!("{error:#}"))?;
    match instance.countersign_policy_policy().call_describe(store.as_context_mut()) {
        Ok(_) => Err("the instance runs without fuel".to_owned()),
        Err(trap) => Ok(trap),
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::None)
        .consume_fuel(true)
        .coredump_on_trap(true)
        .max_wasm_stack(Limits::CEILING.stack_bytes as usize)
        // As in the sandbox that decides.
        .wasm_gc(false)
        .gc_support(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_stack_switching(false)
        .concurrency_support(false);
    config
}

fn alternate(error: wasmtime::Error) -> CoverageError {
    CoverageError::Module(format!("{error:#}"))
}
