//! A policy that has taken its settings once decides as one that takes them in each evaluation.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use countersign::{
    Binding, BindingConfig, BindingError, Cache, CacheEntry, Compile, CompileError, CompiledCode,
    Digest, Engine, EngineConfig, Form, Limits, Mode, Optimization, Policy, PolicySet, Preparation,
    Scope, Settings,
};
use countersign_hostile_policies::guest::{GUEST, Guest, PERMIT};
use countersign_policy_artifacts::{ALLOWED_CONSUMERS, SAME_WORKSPACE, TTL_CEILING};

fn config(settings: &str) -> BindingConfig {
    BindingConfig {
        name: "one".parse().unwrap(),
        settings: Settings::from_json(settings).unwrap(),
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits: Limits::DEFAULT,
        claims: vec![],
    }
}

fn bind(engine: &Engine, component: &[u8], settings: &str) -> Result<Binding, BindingError> {
    let policy = Policy::load(engine, component, &Limits::DEFAULT).unwrap();
    Binding::prepare(Arc::new(policy), config(settings))
}

fn record(binding: Binding) -> String {
    let decision = PolicySet::new(vec![binding]).unwrap().evaluate(support::claims());
    serde_json::to_string(&decision.record()).unwrap()
}

fn engine(config: EngineConfig) -> Engine {
    Engine::with(config).unwrap()
}

fn each_time() -> Engine {
    engine(EngineConfig { optimization: Optimization::None, ..EngineConfig::default() })
}

/// 10,000 workspaces, the one of the claims not among them.
fn long_list() -> String {
    let names: Vec<_> = (0..10_000).map(|n| format!("\"workspace-{n}\"")).collect();
    format!("{{\"workspaces\":[{}]}}", names.join(","))
}

#[test]
fn a_snapshot_decides_as_a_policy_that_is_configured_each_time() {
    let list = long_list();
    for (component, settings) in [
        (SAME_WORKSPACE, "{}"),
        (SAME_WORKSPACE, r#"{"also":["team-a"],"also-max-ttl":60}"#),
        (TTL_CEILING, r#"{"apply":600,"detect":60,"destroy":60}"#),
        (ALLOWED_CONSUMERS, list.as_str()),
    ] {
        let snapshot = bind(&Engine::new().unwrap(), component, settings).unwrap();
        let configured = bind(&each_time(), component, settings).unwrap();
        let (one, other) = (snapshot.prepared().unwrap(), configured.prepared().unwrap());
        assert_eq!(one.no_snapshot, None);
        assert_eq!(one.usage, other.usage);
        assert!(other.no_snapshot.is_some());
        assert_eq!(record(snapshot), record(configured));
    }
}

/// A guest that `configure` leaves in a state which `evaluate` asks for.
const NOT_A_NUMBER: Guest<'_> = Guest {
    more: "(global $float (mut f32) (f32.const 0))",
    configure: "(global.set $float (f32.const nan:0x200001)) (i32.const 2240)",
    evaluate: "
        (if (result i32)
            (i32.eq (i32.reinterpret_f32 (global.get $float)) (i32.const 0x7fa00001))
            (then (i32.const 2112))
            (else (i32.const 2048)))",
    ..GUEST
};

#[test]
fn every_bit_of_a_global_is_in_the_snapshot() {
    let component = NOT_A_NUMBER.component();
    let snapshot = bind(&Engine::new().unwrap(), &component, "{}").unwrap();
    assert_eq!(snapshot.prepared().unwrap().no_snapshot, None);
    let record = record(snapshot);
    assert!(record.contains(r#""verdict":{"permit":"#), "{record}");
}

#[test]
fn what_has_no_snapshot_decides_the_same_and_says_why() {
    let full = Guest { memory: r#"(memory (export "memory") 1 1)"#, evaluate: PERMIT, ..GUEST };
    let large = Guest { memory: r#"(memory (export "memory") 130)"#, evaluate: PERMIT, ..GUEST };
    let table = Guest {
        more: "(table 1 funcref) (func $set (table.set (i32.const 0) (ref.null func)))",
        evaluate: PERMIT,
        ..GUEST
    };
    for (guest, why) in
        [(full, "could not be read"), (large, "`prepare-memory-bytes`"), (table, "table.set")]
    {
        let component = guest.component();
        let snapshot = bind(&Engine::new().unwrap(), &component, "{}").unwrap();
        let configured = bind(&each_time(), &component, "{}").unwrap();
        let reason = snapshot.prepared().unwrap().no_snapshot.clone();
        let record = [record(snapshot), record(configured)];
        assert_eq!(record[0], record[1], "{why}");
        assert!(record[0].contains(r#""verdict":{"permit":"#), "{}", record[0]);
        assert!(reason.as_ref().is_some_and(|reason| reason.contains(why)), "{why}: {reason:?}");
    }
}

#[test]
fn settings_that_a_policy_does_not_take_are_the_same_error() {
    let settings = r#"{"also":7}"#;
    let one = bind(&Engine::new().unwrap(), SAME_WORKSPACE, settings).unwrap_err();
    assert_eq!(bind(&each_time(), SAME_WORKSPACE, settings).unwrap_err(), one);
}

#[test]
fn a_binding_that_is_prepared_when_needed_decides_the_same_or_refuses() {
    let engine = Engine::new().unwrap();
    let policy = Arc::new(Policy::load(&engine, SAME_WORKSPACE, &Limits::DEFAULT).unwrap());
    let lazy = Binding::prepare_lazily(Arc::clone(&policy), config("{}")).unwrap();
    assert_eq!(lazy.prepared(), None);
    let eager = Binding::prepare(Arc::clone(&policy), config("{}")).unwrap();
    assert_eq!(record(lazy), record(eager));

    let wrong = Binding::prepare_lazily(policy, config(r#"{"also":7}"#)).unwrap();
    let set = PolicySet::new(vec![wrong]).unwrap();
    for _ in 0..2 {
        let decision = set.evaluate(support::claims());
        let fault = decision.trace().first().unwrap().result.as_ref().unwrap_err();
        assert_eq!(fault.code(), "configure");
        assert!(decision.into_approval().is_err());
    }
}

#[test]
fn what_is_not_used_is_dropped_and_made_again() {
    // Room for the policy and about one binding.
    let engine = engine(EngineConfig { resident_bytes: Some(600_000), ..EngineConfig::default() });
    let policy = Arc::new(Policy::load(&engine, SAME_WORKSPACE, &Limits::DEFAULT).unwrap());
    let set = |name: &str| {
        let config = BindingConfig { name: name.parse().unwrap(), ..config("{}") };
        PolicySet::new(vec![Binding::prepare(Arc::clone(&policy), config).unwrap()]).unwrap()
    };
    let sets: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(set).into();
    let all = engine.resident_bytes();
    assert!(all <= 600_000, "{all}");
    let first: Vec<_> = sets.iter().map(|set| set.evaluate(support::claims()).id()).collect();
    let again: Vec<_> = sets.iter().map(|set| set.evaluate(support::claims()).id()).collect();
    assert_eq!(first, again);
    assert!(engine.resident_bytes() <= 600_000);
    drop((sets, policy));
    assert_eq!(engine.resident_bytes(), 0);
}

/// Keeps entries in memory, and counts.
#[derive(Default)]
struct InMemory {
    entries: Mutex<HashMap<Digest, Vec<u8>>>,
    hits: Mutex<u32>,
}

impl Cache for InMemory {
    fn get(&self, key: &Digest) -> Option<CacheEntry> {
        let bytes = self.entries.lock().unwrap().get(key).cloned()?;
        *self.hits.lock().unwrap() += 1;
        // SAFETY: nobody else has these entries.
        #[expect(unsafe_code, reason = "a cache of one's own")]
        Some(unsafe { CacheEntry::from_bytes(bytes) })
    }

    fn put(&self, key: &Digest, entry: &CacheEntry) {
        self.entries.lock().unwrap().insert(*key, entry.as_bytes().to_vec());
    }
}

#[test]
fn what_was_kept_decides_the_same_and_only_for_what_it_was_made_of() {
    let cache = Arc::new(InMemory::default());
    let with_cache =
        || engine(EngineConfig { cache: Some(Arc::clone(&cache) as _), ..EngineConfig::default() });
    let first = record(bind(&with_cache(), SAME_WORKSPACE, "{}").unwrap());
    assert_eq!((*cache.hits.lock().unwrap(), cache.entries.lock().unwrap().len()), (0, 2));
    let second = record(bind(&with_cache(), SAME_WORKSPACE, "{}").unwrap());
    assert_eq!((*cache.hits.lock().unwrap(), cache.entries.lock().unwrap().len()), (2, 2));
    assert_eq!(first, second);
    // Other settings: the policy is known, the binding is not.
    bind(&with_cache(), SAME_WORKSPACE, r#"{"also":["team-a"]}"#).unwrap();
    assert_eq!((*cache.hits.lock().unwrap(), cache.entries.lock().unwrap().len()), (3, 3));
}

/// Compiles in this process, and counts.
#[derive(Default)]
struct Counting(Mutex<u32>);

impl Compile for Counting {
    fn compile(
        &self,
        component: &[u8],
        form: Form<'_>,
        optimization: Optimization,
        limits: &Limits,
    ) -> Result<CompiledCode, CompileError> {
        *self.0.lock().unwrap() += 1;
        CompiledCode::compile(component, form, optimization, limits)
    }

    fn name(&self) -> &'static str {
        "a test"
    }
}

/// The component with so many bytes more, which mean nothing.
fn enlarged(component: &[u8], bytes: usize) -> Vec<u8> {
    let mut section = vec![1, b'x'];
    section.resize(bytes, 0);
    let mut enlarged = component.to_vec();
    // A custom section, its length in LEB128.
    enlarged.push(0);
    let mut left = section.len();
    while left >= 0x80 {
        enlarged.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    enlarged.push(u8::try_from(left).unwrap());
    enlarged.extend(section);
    enlarged
}

#[test]
fn a_large_component_is_compiled_once_for_all_settings() {
    let large = enlarged(SAME_WORKSPACE, 512 << 10);
    let settings: Vec<_> =
        (0..4).map(|n| format!(r#"{{"also":["team-{n}"],"also-max-ttl":{}}}"#, 60 + n)).collect();
    for optimization in [Optimization::Speed, Optimization::None] {
        let (cache, counting) = (Arc::new(InMemory::default()), Arc::new(Counting::default()));
        let kept = || {
            engine(EngineConfig {
                cache: Some(Arc::clone(&cache) as _),
                preparation: Preparation::External(Arc::clone(&counting) as _),
                optimization,
                ..EngineConfig::default()
            })
        };
        for settings in &settings {
            let binding = bind(&kept(), &large, settings).unwrap();
            let configured = bind(&each_time(), &large, settings).unwrap();
            let (one, other) = (binding.prepared().unwrap(), configured.prepared().unwrap());
            assert_eq!(one.no_snapshot, None);
            assert_eq!(one.usage, other.usage);
            assert_eq!(record(binding), record(configured));
        }
        // Its state is read of one, and the other is the template.
        assert_eq!(*counting.0.lock().unwrap(), 2, "{optimization:?}");
        let small = bind(&kept(), SAME_WORKSPACE, "{}").unwrap();
        let has_snapshot = small.prepared().unwrap().no_snapshot.is_none();
        assert_eq!(has_snapshot, optimization == Optimization::Speed);
    }
}

#[test]
fn a_large_component_in_a_state_of_another_shape_is_compiled_again() {
    let (cache, counting) = (Arc::new(InMemory::default()), Arc::new(Counting::default()));
    let engine = engine(EngineConfig {
        cache: Some(Arc::clone(&cache) as _),
        preparation: Preparation::External(Arc::clone(&counting) as _),
        ..EngineConfig::default()
    });
    let float = enlarged(&NOT_A_NUMBER.component(), 512 << 10);
    assert_eq!(record(bind(&engine, &float, "{}").unwrap()), {
        record(bind(&each_time(), &float, "{}").unwrap())
    });
    assert_eq!(*counting.0.lock().unwrap(), 2);
    let large = enlarged(ALLOWED_CONSUMERS, 512 << 10);
    let list = long_list();
    // A list that does not fit makes the memory larger.
    for settings in [r#"{"workspaces":["a"]}"#, &list, r#"{"workspaces":["b"]}"#] {
        let binding = bind(&engine, &large, settings).unwrap();
        assert_eq!(binding.prepared().unwrap().no_snapshot, None);
        assert_eq!(record(binding), record(bind(&each_time(), &large, settings).unwrap()));
    }
    assert_eq!(*counting.0.lock().unwrap(), 5);
}

/// Decisions of all bindings from many threads at once: how often each record came.
fn from_many_threads(set: &PolicySet) -> HashMap<String, usize> {
    let records = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let decision = set.evaluate(support::claims());
                    let record = serde_json::to_string(&decision.record()).unwrap();
                    *records.lock().unwrap().entry(record).or_default() += 1;
                }
            });
        }
    });
    records.into_inner().unwrap()
}

fn several(policy: &Arc<Policy>, settings: impl Fn(usize) -> String) -> PolicySet {
    let bindings = (0..8).map(|index| {
        let name = format!("binding-{index}").parse().unwrap();
        let config = BindingConfig { name, ..config(&settings(index)) };
        Binding::prepare(Arc::clone(policy), config).unwrap()
    });
    PolicySet::new(bindings.collect()).unwrap()
}

#[test]
fn processors_decide_alike_and_bindings_without_snapshots_share_copies() {
    let engine = each_time();
    let policy = Policy::load(&engine, SAME_WORKSPACE, &Limits::DEFAULT).unwrap();
    let copy = engine.resident_bytes();
    let set = several(&Arc::new(policy), |_| "{}".to_owned());
    assert_eq!(from_many_threads(&set).into_values().collect::<Vec<_>>(), [400]);
    // One for each processor, however many bindings there are.
    let processors = std::thread::available_parallelism().unwrap().get() as u64;
    let held = engine.resident_bytes();
    assert!((copy..=copy * processors).contains(&held), "{held} of {copy}");
}

#[test]
fn copies_of_all_processors_stay_within_the_bound() {
    let unbounded = Engine::new().unwrap();
    let policy = Arc::new(Policy::load(&unbounded, SAME_WORKSPACE, &Limits::DEFAULT).unwrap());
    let settings = |index| format!(r#"{{"also":["team-{index}"]}}"#);
    let all = several(&policy, settings);
    let expected = from_many_threads(&all);
    // Room for half of the bindings, so that they are dropped and made again all the time.
    let bound = unbounded.resident_bytes() / 2;
    let cache = Some(Arc::new(InMemory::default()) as _);
    let resident_bytes = Some(bound);
    let bounded = engine(EngineConfig { resident_bytes, cache, ..EngineConfig::default() });
    let policy = Arc::new(Policy::load(&bounded, SAME_WORKSPACE, &Limits::DEFAULT).unwrap());
    let set = several(&policy, settings);
    assert_eq!(from_many_threads(&set), expected);
    assert!(bounded.resident_bytes() <= bound, "{} of {bound}", bounded.resident_bytes());
}
