//! The console: its logs, what it decides with again, and the paths of its pages.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::answer::{self, Body, Format};
use crate::explain::ExplanationView;
use crate::follow::follow;
use crate::frame::{Frame, Links, LogStatus};
use crate::guard::{self, AllowedHosts};
use crate::index::IndexError;
use crate::log::{ConsoleLog, LogSource, LogState};
use crate::pages;
use crate::policies::PolicySource;
use crate::problem::Problem;
use crate::text::is_segment;

/// The time within which a page is made.
const MAX_TIME: Duration = Duration::from_secs(30);

/// The pages that are made at a time. Others wait, as long as a page may take.
const MAX_PAGES: usize = 16;

/// The explanations that are kept.
const MAX_EXPLAINED: usize = 64;

const STYLE: &str = include_str!("../assets/style.css");
const ICON: &str = include_str!("../assets/icon.svg");

/// The things that a console shows, and the names that it answers to.
pub struct ConsoleConfig {
    /// The logs, at least one, each with a name of its own.
    pub logs: Vec<LogSource>,
    /// The policy sets that decisions are explained by.
    pub policies: Arc<dyn PolicySource>,
    /// A folder with reports of `countersign impact --format json`.
    pub reports: Option<PathBuf>,
    /// The beginning of every path: empty, or a segment with a slash before it.
    pub base: &'static str,
    /// The names that it answers to; `None` where somebody else has checked that.
    pub hosts: Option<AllowedHosts>,
}

/// Pages over decision logs.
pub struct Console {
    pub(crate) logs: Vec<Arc<ConsoleLog>>,
    pub(crate) policies: Arc<dyn PolicySource>,
    pub(crate) reports: Option<PathBuf>,
    base: &'static str,
    hosts: Option<AllowedHosts>,
    pages: Semaphore,
    /// One decision is explained at a time: it takes a processor.
    pub(crate) explaining: Arc<Semaphore>,
    explained: Mutex<Vec<(String, Arc<ExplanationView>)>>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A console that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// There is no log.
    #[error("no log to show")]
    NoLog,
    /// Two logs have one name.
    #[error("two logs have the name `{0}`; give each one of its own: `NAME=FOLDER`")]
    SameName(String),
    /// An index cannot be opened.
    #[error("log `{name}`: the index cannot be opened")]
    Index {
        /// The log's name.
        name: String,
        /// The reason.
        #[source]
        source: IndexError,
    },
    /// The system gives no thread.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
}

/// A request for a page of a log.
pub(crate) struct PageRequest<'r> {
    pub(crate) console: &'r Console,
    pub(crate) log: Arc<ConsoleLog>,
    /// The extent to which the log was verified when the request came: all of the page is of that.
    pub(crate) state: Arc<LogState>,
    pub(crate) format: Format,
    pub(crate) query: &'r str,
    path: &'r str,
}

impl Console {
    /// Opens the index of each log and begins to follow it. Needs a runtime of tokio whose threads have stacks of 2 MiB or
    /// more.
    ///
    /// # Errors
    /// When an index cannot be opened, or logs have no names of their own.
    pub async fn open(config: ConsoleConfig) -> Result<Arc<Self>, ConsoleError> {
        if config.logs.is_empty() {
            return Err(ConsoleError::NoLog);
        }
        let mut logs: Vec<Arc<ConsoleLog>> = Vec::new();
        for source in config.logs {
            let name = source.name.clone();
            if logs.iter().any(|log| log.name == name) {
                return Err(ConsoleError::SameName(name.as_str().to_owned()));
            }
            let log = ConsoleLog::open(source)
                .await
                .map_err(|source| ConsoleError::Index { name: name.as_str().to_owned(), source })?;
            logs.push(Arc::new(log));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for log in &logs {
            let (log, runtime, stop) = (Arc::clone(log), Handle::current(), Arc::clone(&stop));
            let thread = thread::Builder::new().name("console-index".to_owned());
            let thread = thread.spawn(move || follow(&log, &runtime, &stop));
            threads.push(thread.map_err(ConsoleError::Thread)?);
        }
        Ok(Arc::new(Self {
            logs,
            policies: config.policies,
            reports: config.reports,
            base: config.base,
            hosts: config.hosts,
            pages: Semaphore::new(MAX_PAGES),
            explaining: Arc::new(Semaphore::new(1)),
            explained: Mutex::default(),
            stop,
            threads: Mutex::new(threads),
        }))
    }

    /// Answers a request, of which nothing but the head is looked at.
    pub async fn respond(&self, head: &Parts) -> Response<Body> {
        let (format, path) = Format::of(head.uri.path(), &head.headers);
        let query = head.uri.query().unwrap_or("");
        let answered = match guard::check(head, self.hosts.as_ref()) {
            Ok(()) => {
                let page = async {
                    let _turn = self.pages.acquire().await;
                    self.page(format, path, query).await
                };
                let late = || {
                    let problem =
                        "the page took too long; ask for less at once: `limit`, or a shorter time";
                    Problem::new(StatusCode::SERVICE_UNAVAILABLE, problem)
                };
                tokio::time::timeout(MAX_TIME, page).await.unwrap_or_else(|_| Err(late()))
            }
            Err(problem) => Err(problem),
        };
        let response =
            answered.unwrap_or_else(|problem| pages::problem(self.base, format, problem));
        answer::for_method(&head.method, response)
    }

    /// Stops following, and closes the indexes.
    pub async fn close(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| {
                let _ = thread.join();
            });
        });
        let _ = joined.await;
        for log in &self.logs {
            log.index.close().await;
        }
    }

    async fn page(
        &self,
        format: Format,
        path: &str,
        query: &str,
    ) -> Result<Response<Body>, Problem> {
        let nothing = || Problem::not_found("no such page");
        let below = path.strip_prefix(self.base).ok_or_else(nothing)?;
        let segments: Vec<_> = match below {
            "" | "/" => Vec::new(),
            below => below.strip_prefix('/').ok_or_else(nothing)?.split('/').collect(),
        };
        // Nothing is decoded: a path is one of these to the byte, or none.
        let (last, others) = match segments.split_last() {
            // `/log/` is `/log`.
            Some((&"", [log])) => (*log, &[][..]),
            Some((last, others)) => (*last, others),
            None => return self.home(format, query),
        };
        if !is_segment(last) || !others.iter().all(|segment| is_segment(segment)) {
            return Err(nothing());
        }
        match (others, last) {
            ([], "style.css") => {
                return Ok(answer::answer(StatusCode::OK, "text/css; charset=utf-8", STYLE));
            }
            ([], "icon.svg") => return Ok(answer::answer(StatusCode::OK, "image/svg+xml", ICON)),
            _ => {}
        }
        let name = others.first().copied().unwrap_or(last);
        let log = self.logs.iter().find(|log| log.name.as_str() == name).ok_or_else(nothing)?;
        let (log, state) = (Arc::clone(log), log.state());
        let asked = PageRequest { console: self, log, state, format, query, path };
        let rest: Vec<_> = others.iter().copied().chain([last]).skip(1).collect();
        match rest.as_slice() {
            [] => Ok(answer::redirect(&format!("{}/{name}/records", self.base))),
            ["records"] => pages::search(&asked).await,
            ["records", sequence] => pages::record(&asked, sequence).await,
            ["records", sequence, "explain"] => pages::explanation(&asked, sequence).await,
            ["refusals"] => pages::refusals(&asked).await,
            ["releases"] => pages::releases(&asked).await,
            ["releases", release] => pages::release(&asked, release).await,
            ["reports"] => pages::reports(&asked).await,
            ["reports", name] => pages::report(&asked, name).await,
            ["policies"] => pages::policies(&asked).await,
            ["policies", digest] => pages::policy_set(&asked, digest).await,
            ["keys"] => pages::keys(&asked).await,
            _ => Err(nothing()),
        }
    }

    /// The list of logs, or the one log.
    fn home(&self, format: Format, query: &str) -> Result<Response<Body>, Problem> {
        if let ([log], Format::Html) = (self.logs.as_slice(), format) {
            let name = log.name.as_str();
            return Ok(answer::redirect(&format!("{}/{name}/records", self.base)));
        }
        crate::query::Parameters::parse(query)?.end()?;
        let logs = self.logs.iter().map(|log| LogStatus::new(log, &log.state())).collect();
        pages::logs(self.base, format, logs)
    }

    /// An explanation that was made before.
    pub(crate) fn explained(&self, decision: &str) -> Option<Arc<ExplanationView>> {
        let explained = self.explained.lock().unwrap_or_else(PoisonError::into_inner);
        let found = explained.iter().find(|(known, _)| known == decision);
        found.map(|(_, explanation)| Arc::clone(explanation))
    }

    pub(crate) fn keep_explained(&self, decision: String, explanation: Arc<ExplanationView>) {
        let mut explained = self.explained.lock().unwrap_or_else(PoisonError::into_inner);
        if explained.len() == MAX_EXPLAINED {
            explained.remove(0);
        }
        explained.push((decision, explanation));
    }
}

impl PageRequest<'_> {
    /// The frame of a page of a view.
    pub(crate) fn frame(&self, view: &'static str) -> Frame {
        let names = self.console.logs.iter().map(|log| log.name.as_str().to_owned());
        let query = match self.query {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let links = Links {
            base: self.console.base.to_owned(),
            logs: names.collect(),
            view,
            path: self.path.to_owned(),
            query,
        };
        Frame { links, status: LogStatus::new(&self.log, &self.state) }
    }
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}
