//! The cases that are shipped with the policies of a release.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use countersign::{Limits, MAX_RUN_TEXT_BYTES, MAX_SETTINGS_BYTES, Optimization, Settings};
use countersign_authoring::{CaseRunner, Cases, EvaluationBudget};
use countersign_deployment::{ManifestBundle, PolicyRegistries, ShippedCases, engine, files};
use countersign_registry::LockFile;
use serde_json::Value;

use crate::cache::CacheArguments;
use crate::{clock, output};

const RUN: &str = include_str!("../../../../examples/run.json");

/// The files that are shipped beside a component.
struct Shipped {
    cases: PathBuf,
    run: PathBuf,
    settings: PathBuf,
}

impl Shipped {
    /// `NAME.cases.toml` beside `NAME.wasm`, with `NAME.run.json` and `NAME.settings.json`; or, beside `policy.wasm`, the
    /// files of a policy's folder.
    fn beside(component: &Path) -> Option<Self> {
        let own = |suffix: &str| component.with_extension(suffix);
        let shipped =
            Self { cases: own("cases.toml"), run: own("run.json"), settings: own("settings.json") };
        if shipped.cases.exists() {
            return Some(shipped);
        }
        let file = |name: &str| component.with_file_name(name);
        let folder = Self {
            cases: file("cases.toml"),
            run: file("run.json"),
            settings: file("settings.json"),
        };
        let is_folder = component.file_name().is_some_and(|name| name == "policy.wasm");
        (is_folder && folder.cases.exists()).then_some(folder)
    }
}

/// Runs the cases that are shipped with the components of a manifest. Returns the number that passed, by the path that the
/// manifest has for the component. `lock` has pins of policies of registries in the place of those of the lock file.
pub(crate) fn run(
    bundle: &ManifestBundle,
    manifest: &Path,
    cache: &CacheArguments,
    lock: Option<&LockFile>,
) -> Result<BTreeMap<String, u64>> {
    let mut passed: BTreeMap<String, u64> = BTreeMap::new();
    let has_references = bundle.manifest.bindings.iter().any(|entry| entry.reference().is_some());
    // Once, also where thousands of bindings name policies of registries.
    let registries = match has_references {
        true => Some((PolicyRegistries::read(manifest)?, clock::now(None)?)),
        false => None,
    };
    for entry in &bundle.manifest.bindings {
        if passed.contains_key(&entry.policy) {
            continue;
        }
        if let Some((reference, (registries, now))) = entry.reference().zip(registries.as_ref()) {
            let lock = lock.unwrap_or(&registries.lock);
            let Some(shipped) = registries.cases(lock, reference, *now)? else {
                continue;
            };
            let component = bundle.file(&entry.policy).context("the component was not read")?;
            let number = run_published(shipped, component, entry.limits, cache)
                .with_context(|| format!("{reference}: its cases"))?;
            passed.insert(entry.policy.clone(), number);
            continue;
        }
        let path = files::resolve_relative_to(manifest, &entry.policy);
        let Some(shipped) = Shipped::beside(&path) else { continue };
        let component = bundle.file(&entry.policy).context("the component was not read")?;
        let number = run_shipped(&shipped, component, entry.limits, cache)
            .with_context(|| shipped.cases.display().to_string())?;
        passed.insert(entry.policy.clone(), number);
    }
    Ok(passed)
}

fn run_shipped(
    shipped: &Shipped,
    component: &[u8],
    limits: Limits,
    cache: &CacheArguments,
) -> Result<u64> {
    let cases = Cases::parse(&files::read_whole_text(&shipped.cases, 4 << 20)?)?;
    let run: Value = match shipped.run.exists() {
        true => serde_json::from_slice(&files::read(&shipped.run, MAX_RUN_TEXT_BYTES as u64)?)
            .with_context(|| shipped.run.display().to_string())?,
        false => serde_json::from_str(RUN)?,
    };
    let settings = match shipped.settings.exists() {
        true => {
            let text = files::read_whole_text(&shipped.settings, MAX_SETTINGS_BYTES as u64)?;
            Settings::from_json(&text).with_context(|| shipped.settings.display().to_string())?
        }
        false => Settings::default(),
    };
    run_cases(&cases, &run, settings, component, limits, cache)
}

/// Runs the cases that were published with a policy.
fn run_published(
    shipped: ShippedCases,
    component: &[u8],
    limits: Limits,
    cache: &CacheArguments,
) -> Result<u64> {
    let text = String::from_utf8(shipped.text).context("not UTF-8")?;
    let mut cases = Cases::parse(&text)?;
    let settings = match shipped.settings {
        Some(bytes) => Settings::from_json(std::str::from_utf8(&bytes).context("not UTF-8")?)?,
        None => Settings::default(),
    };
    if let Some(key) = &shipped.own_settings {
        cases = cases.within(&settings, key)?;
    }
    let run = shipped.run.as_deref().unwrap_or(RUN.as_bytes());
    run_cases(&cases, &serde_json::from_slice(run)?, settings, component, limits, cache)
}

fn run_cases(
    cases: &Cases,
    run: &Value,
    settings: Settings,
    component: &[u8],
    limits: Limits,
    cache: &CacheArguments,
) -> Result<u64> {
    let engine = engine::engine_without_check(Optimization::None, cache.open()?)?;
    let runner = CaseRunner::new(&engine, component, limits, cases, run, settings)?
        .checked_by(engine::settings_check(output::warn_or_log));
    let report = runner.run(&mut EvaluationBudget::new(EvaluationBudget::DEFAULT_FUEL))?;
    if !report.cases_passed() {
        bail!("a case fails; `countersign policy test` shows which, and what the policy answers");
    }
    Ok(cases.case.len() as u64)
}
