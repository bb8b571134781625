//! The files of a policy, and the modules that they are loaded as.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use boa_engine::builtins::promise::PromiseState;
use boa_engine::module::{ModuleLoader, ModuleRequest, Referrer};
use boa_engine::object::builtins::JsPromise;
use boa_engine::{Context, JsError, JsNativeError, JsResult, JsString, Module, Source};
use countersign_policy::Problem;
use engine_shared::claims::{Claims, Paths};

use crate::absent::{self, Absent};
use crate::globals::Library;
use crate::{errors, grant, names, nesting, typescript};

/// The files that a policy may begin with.
pub const MAINS: [&str; 2] = ["policy.js", "policy.ts"];

/// The module of verdicts, as a package and, for editors that look for files, as a file of the policy's folder.
const OWN_MODULE: &str = "countersign";
const OWN_FILE: &str = "countersign.js";

/// The files of a policy, by their paths.
pub struct Files {
    texts: BTreeMap<String, String>,
    main: &'static str,
}

/// The target of an import.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// The module of verdicts.
    Own,
    /// A file of the policy.
    File(String),
}

impl Files {
    /// Takes files, one of which the policy begins with.
    ///
    /// # Errors
    /// When none or both of `policy.js` and `policy.ts` are there, and when a path is not one of a file in the folder.
    pub fn new(texts: BTreeMap<String, String>) -> Result<Self, Problem> {
        for path in texts.keys() {
            let wrong = |message: &str| Err(problem(path, message.to_owned()));
            let is_relative = !path.starts_with('/')
                && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
            match path.as_str() {
                OWN_FILE => return wrong("the engine brings this module; remove the file"),
                _ if !is_relative => return wrong("expected the path of a file in the folder"),
                _ => {}
            }
        }
        let mains: Vec<_> = MAINS.into_iter().filter(|main| texts.contains_key(*main)).collect();
        match mains.as_slice() {
            [main] => Ok(Self { main, texts }),
            [] => Err(files_problem("expected `policy.js` or `policy.ts`")),
            _ => Err(files_problem("found both `policy.js` and `policy.ts`; keep one")),
        }
    }

    /// Says that a path is one of these files.
    pub fn contains(&self, path: &str) -> bool {
        self.texts.contains_key(path)
    }

    /// The file that the policy begins with.
    pub fn main(&self) -> &'static str {
        self.main
    }

    fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    /// Finds what a file imports. A path without the file's ending, or with that of JavaScript for TypeScript, is
    /// completed, as bundlers do.
    fn resolve(&self, referrer: &str, specifier: &str) -> Result<Target, String> {
        if specifier == OWN_MODULE {
            return Ok(Target::Own);
        }
        if specifier.starts_with("node:") {
            return Err(format!(
                "cannot import `{specifier}`: a policy has no files, no network and no environment, and none of Node's modules"
            ));
        }
        if !specifier.starts_with("./") && !specifier.starts_with("../") {
            return Err(format!(
                "cannot import `{specifier}`: expected `{OWN_MODULE}`, or the path of a file of the policy such as \
                 `./{specifier}`; packages are not available, so copy what you need into a file"
            ));
        }
        let mut parts: Vec<_> = referrer.split('/').collect();
        parts.pop();
        for part in specifier.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or_else(|| {
                        format!("cannot import `{specifier}`: it leads out of the policy's folder")
                    })?;
                }
                name => parts.push(name),
            }
        }
        let path = parts.join("/");
        if path == OWN_FILE || format!("{path}.js") == OWN_FILE {
            return Ok(Target::Own);
        }
        let typed = path.strip_suffix(".js").map(|stem| format!("{stem}.ts"));
        let completed = ["js", "ts"].map(|ending| format!("{path}.{ending}"));
        let candidates = std::iter::once(path.clone()).chain(typed).chain(completed);
        let found = candidates.into_iter().find(|candidate| self.contains(candidate));
        found
            .map(Target::File)
            .ok_or_else(|| format!("cannot import `{specifier}`: the policy has no file `{path}`"))
    }

    /// The line and column of an import. The interpreter tells what is imported, and not where that is written.
    fn place_of_import(&self, path: &str, specifier: &str) -> String {
        let text = self.text(path);
        let quoted = ['\'', '"', '`'].map(|quote| format!("{quote}{specifier}{quote}"));
        let found: Vec<_> = quoted.iter().flat_map(|quoted| text.match_indices(quoted)).collect();
        let is_import = |at: usize| {
            let before = text.get(..at).unwrap_or_default().trim_end();
            ["from", "import", "("].iter().any(|word| before.ends_with(word))
        };
        let places = found.iter().map(|(at, _)| *at);
        let at = places.clone().find(|at| is_import(*at)).or_else(|| places.min()).unwrap_or(0);
        errors::place(path, text, at)
    }
}

/// Loads the modules of a policy from its files.
pub struct Loader {
    files: Files,
    modules: RefCell<BTreeMap<String, Module>>,
    /// The first problem of loading, which the interpreter's own errors have without its place.
    problem: RefCell<Option<Problem>>,
    /// The names that the language brings, while files are loaded: no evaluation needs them.
    library: RefCell<Option<Library>>,
    /// The claims of each file that runs may lack, while files are loaded.
    absent: RefCell<BTreeMap<String, Absent>>,
    /// The claims that the policy reads, where its text tells.
    reads: RefCell<Option<Paths>>,
}

impl Loader {
    pub fn new(files: Files) -> Self {
        Self {
            files,
            modules: RefCell::default(),
            problem: RefCell::default(),
            library: RefCell::default(),
            absent: RefCell::default(),
            reads: RefCell::default(),
        }
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Loads the policy's module with all that it imports, and runs them.
    ///
    /// # Errors
    /// When a file has a syntax error, imports what is not there, or throws.
    pub fn load(&self, context: &mut Context) -> Result<Module, Problem> {
        let main = self.module(self.files.main, context)?;
        let loaded = main.load(context);
        self.settled(&loaded, context)?;
        main.link(context).map_err(|error| self.problem_of_link(&error, context))?;
        let evaluated = main.evaluate(context).map_err(|error| self.problem_of(&error, context))?;
        self.settled(&evaluated, context)?;
        self.library.take();
        Ok(main)
    }

    /// Gives the warnings about what was loaded, once.
    pub fn warnings(&self) -> Vec<Problem> {
        let absent = self.absent.take();
        let unasked = absent::unasked(absent.values());
        let of_file = absent.iter().zip(unasked).flat_map(|((path, _), messages)| {
            messages.into_iter().map(|message| problem(path, message))
        });
        of_file.collect()
    }

    /// The claims that the policy may read.
    pub fn claims(&self) -> Claims {
        // A getter of a prototype reads its object by no name of it.
        let has_prototypes = self.files.texts.values().any(|text| {
            ["__proto__", "prototype", "PrototypeOf"].iter().any(|word| text.contains(word))
        });
        let reads = self.reads.take().filter(|_| !has_prototypes);
        reads.unwrap_or_else(Paths::all).claims()
    }

    /// Waits until a promise is settled, which all are once nothing is left to do.
    fn settled(&self, promise: &JsPromise, context: &mut Context) -> Result<(), Problem> {
        let ran = context.run_jobs();
        match (promise.state(), ran) {
            (PromiseState::Rejected(reason), _) => {
                Err(self.problem_of(&JsError::from_opaque(reason), context))
            }
            (_, Err(error)) => Err(self.problem_of(&error, context)),
            (PromiseState::Fulfilled(_), Ok(())) => Ok(()),
            (PromiseState::Pending, Ok(())) => {
                let message = "the module waits for something that never comes";
                Err(problem(self.files.main, message.to_owned()))
            }
        }
    }

    /// The problem of an error while loading.
    fn problem_of(&self, error: &JsError, context: &mut Context) -> Problem {
        if let Some(problem) = self.problem.take() {
            return problem;
        }
        let text = errors::text(error, context);
        if let Some(path) = text.split(':').next().filter(|path| self.files.contains(path)) {
            return problem(path, text.clone());
        }
        // An error that came through a promise may have lost its place.
        let undefined =
            text.strip_suffix(" is not defined").and_then(|text| text.split(' ').next_back());
        match undefined.and_then(|name| self.place_of_name(name)) {
            Some((path, place)) => problem(&path, format!("{place}: {text}")),
            None => problem(self.files.main, text),
        }
    }

    /// The first place of a name in the files that are loaded, with the file.
    fn place_of_name(&self, name: &str) -> Option<(String, String)> {
        self.modules.borrow().keys().find_map(|path| {
            let text = self.files.text(path);
            let at = errors::word(text, name).next()?;
            Some((path.clone(), errors::place(path, text, at)))
        })
    }

    /// The problem of an error while linking, of which the interpreter names only what is imported.
    fn problem_of_link(&self, error: &JsError, context: &mut Context) -> Problem {
        let message = errors::text(error, context);
        let name = message.split('`').nth(1).filter(|_| message.contains("could not find export"));
        let Some((path, place)) = name.and_then(|name| self.place_of_name(name)) else {
            return problem(self.files.main, message);
        };
        let is_typed = path.ends_with(".ts") || path.ends_with(".mts");
        let hint = if is_typed { "; a type is imported with `import type`" } else { "" };
        problem(&path, format!("{place}: {message}{hint}"))
    }

    /// The module of a file, parsed once.
    fn module(&self, path: &str, context: &mut Context) -> Result<Module, Problem> {
        if let Some(module) = self.modules.borrow().get(path) {
            return Ok(module.clone());
        }
        let text = self.files.text(path);
        if let Some(at) = nesting::too_deep(text) {
            let message = "nested too deep; give an inner part a name of its own, as a function or a constant";
            return Err(problem(path, format!("{}: {message}", errors::place(path, text, at))));
        }
        let is_json = path.ends_with(".json");
        let is_typed = path.ends_with(".ts") || path.ends_with(".mts");
        let untyped = is_typed.then(|| typescript::without_types(path, text)).transpose();
        let untyped = untyped.map_err(|message| problem(path, message))?;
        let untyped = untyped.as_deref().unwrap_or(text);
        let parsed = if is_json {
            Module::parse_json(JsString::from(text), context)
        } else {
            let source = Source::from_bytes(untyped);
            Module::parse(source.with_path(Path::new(path)), None, context)
        };
        let module = parsed
            .map_err(|error| problem(path, errors::syntax(path, untyped, &error, context)))?;
        if !is_json {
            let mut library = self.library.borrow_mut();
            let library = library.get_or_insert_with(|| Library::of(context));
            let checked = names::check(path, untyped, library);
            if let Some(checked) = checked.map_err(|message| problem(path, message))? {
                self.absent.borrow_mut().insert(path.to_owned(), checked.absent);
                if path == self.files.main {
                    self.reads.replace(Some(checked.reads));
                }
            }
        }
        self.modules.borrow_mut().insert(path.to_owned(), module.clone());
        Ok(module)
    }

    fn imported(
        &self,
        referrer: &Referrer,
        request: &ModuleRequest,
        context: &mut Context,
    ) -> Result<Module, Problem> {
        let specifier = request.specifier().to_std_string_escaped();
        let referrer = referrer.path().and_then(Path::to_str).unwrap_or(self.files.main);
        let at_import = |message: String| {
            let place = self.files.place_of_import(referrer, &specifier);
            problem(referrer, format!("{place}: {message}"))
        };
        match self.files.resolve(referrer, &specifier).map_err(at_import)? {
            Target::Own => {
                let own = self.modules.borrow().get(OWN_MODULE).cloned();
                Ok(own.unwrap_or_else(|| {
                    let module = grant::module(context);
                    self.modules.borrow_mut().insert(OWN_MODULE.to_owned(), module.clone());
                    module
                }))
            }
            Target::File(path) => self.module(&path, context),
        }
    }
}

impl ModuleLoader for Loader {
    fn load_imported_module(
        self: Rc<Self>,
        referrer: Referrer,
        request: ModuleRequest,
        context: &RefCell<&mut Context>,
    ) -> impl Future<Output = JsResult<Module>> {
        let imported = self.imported(&referrer, &request, &mut context.borrow_mut());
        let imported = imported.map_err(|problem| {
            let error = JsNativeError::syntax().with_message(problem.message.clone());
            self.problem.borrow_mut().get_or_insert(problem);
            error.into()
        });
        std::future::ready(imported)
    }
}

/// A problem of a file.
pub fn problem(path: &str, message: String) -> Problem {
    let escaped = path.replace('~', "~0").replace('/', "~1");
    Problem { pointer: format!("/files/{escaped}"), message }
}

fn files_problem(message: &str) -> Problem {
    Problem { pointer: "/files".to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_stay_within_the_folder() {
        let texts = ["policy.js", "lib/a.js", "lib/b.ts", "lib/data.json"];
        let texts = texts.map(|path| (path.to_owned(), String::new()));
        let files = Files::new(texts.into()).expect("files");
        for (referrer, specifier, expected) in [
            ("policy.js", "countersign", Ok("")),
            ("policy.js", "./countersign.js", Ok("")),
            ("lib/a.js", "../countersign.js", Ok("")),
            ("policy.js", "./lib/a.js", Ok("lib/a.js")),
            ("policy.js", "./lib/a", Ok("lib/a.js")),
            ("policy.js", "./lib/b.js", Ok("lib/b.ts")),
            ("policy.js", "./lib/b.ts", Ok("lib/b.ts")),
            ("policy.js", "./lib/../lib/./b", Ok("lib/b.ts")),
            ("lib/a.js", "./data.json", Ok("lib/data.json")),
            ("lib/a.js", "../policy.js", Ok("policy.js")),
            ("lib/a.js", "../../policy.js", Err("leads out of the policy's folder")),
            ("policy.js", "./c.js", Err("the policy has no file `c.js`")),
            ("policy.js", "/lib/a.js", Err("cannot import `/lib/a.js`: expected")),
            ("policy.js", "lodash", Err("packages are not available")),
        ] {
            let found = files.resolve(referrer, specifier);
            match (found, expected) {
                (Ok(Target::Own), Ok("")) => {}
                (Ok(Target::File(found)), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(says)) => assert!(found.contains(says), "{specifier}: {found}"),
                (found, _) => panic!("{specifier}: {found:?}"),
            }
        }
    }
}
