//! Reports of `countersign impact --format json`, from a folder.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use askama::Template;
use hyper::Response;
use serde::Serialize;
use serde_json::Value;

use super::value;
use crate::answer::{Body, View, respond};
use crate::console::PageRequest;
use crate::frame::Frame;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::record::Parsed;
use crate::text::{Number, Text, Time, is_segment};

/// The maximum length of a report, in bytes. Longer ones are listed, and not shown.
const MAX_BYTES: u64 = 32 << 20;

/// The files of a folder that are looked at.
const MAX_FILES: usize = 500;

/// The reports that a page lists.
const MAX_LISTED: usize = 100;

#[derive(Template, Serialize)]
#[template(path = "reports.html")]
struct ReportsView {
    log: Frame,
    reports: Vec<ReportView>,
    /// A folder was given.
    has_folder: bool,
}

#[derive(Template, Serialize)]
#[template(path = "report.html")]
struct OneReportView {
    log: Frame,
    report: ReportView,
    causes: Vec<CauseView>,
    changes: Vec<ChangeView>,
    /// The changes that the report has.
    total: Number,
    /// `after` of the next page.
    next: Option<u64>,
}

/// A report in a list.
#[derive(Default, Serialize)]
struct ReportView {
    name: Text,
    candidate: Option<Text>,
    evidence: Option<Text>,
    read: Option<Number>,
    compared: Option<Number>,
    faults: Option<Number>,
    /// The classes of difference with the number of decisions in each.
    classes: Vec<ClassView>,
    /// The reason that it is not shown.
    problem: Option<Text>,
}

#[derive(Serialize)]
struct ClassView {
    class: Text,
    decisions: Number,
}

/// A cause of differences.
#[derive(Serialize)]
struct CauseView {
    class: Text,
    binding: Option<Text>,
    code: Text,
    decisions: Number,
}

/// A decision that would be another one.
#[derive(Serialize)]
struct ChangeView {
    class: Text,
    record: Option<u64>,
    name: Option<Text>,
    time: Time,
    run: Text,
    owning_workspace: Text,
    definition: Text,
    before: Text,
    after: Text,
    causes: Vec<Text>,
}

impl View for ReportsView {
    fn lines(&self) -> Vec<Value> {
        self.reports.iter().map(value).collect()
    }
}

impl View for OneReportView {
    fn lines(&self) -> Vec<Value> {
        self.changes.iter().map(value).collect()
    }
}

pub(crate) async fn reports(asked: &PageRequest<'_>) -> Result<Response<Body>, Problem> {
    Parameters::parse(asked.query)?.end()?;
    let folder = asked.console.reports.clone();
    let has_folder = folder.is_some();
    let listed = tokio::task::spawn_blocking(move || folder.map(|folder| list(&folder)));
    let reports = listed.await.ok().flatten().unwrap_or_default();
    respond(asked.format, &ReportsView { log: asked.frame("reports"), reports, has_folder })
}

pub(crate) async fn report(asked: &PageRequest<'_>, name: &str) -> Result<Response<Body>, Problem> {
    let mut parameters = Parameters::parse(asked.query)?;
    let (limit, after) = (parameters.take_limit()?, parameters.take_number("after")?.unwrap_or(0));
    parameters.end()?;
    let nothing = || Problem::not_found("no such report");
    let folder = asked.console.reports.clone().ok_or_else(nothing)?;
    let file = format!("{name}.json");
    let read = tokio::task::spawn_blocking(move || {
        // Only what is listed is opened: a name is compared with those of files, and never made a path of.
        names(&folder).into_iter().find(|known| *known == file).map(|file| read(&folder, &file))
    });
    let report = read.await.ok().flatten().ok_or_else(nothing)?.map_err(Problem::not_found)?;
    let all = report.0.pointer("/changes").and_then(Value::as_array);
    let all = all.map(Vec::as_slice).unwrap_or_default();
    let from = usize::try_from(after).unwrap_or(usize::MAX).min(all.len());
    let changes: Vec<_> = all.iter().skip(from).take(limit).map(change).collect();
    let reached = from + changes.len();
    let causes = report.0.pointer("/causes").and_then(Value::as_array);
    let view = OneReportView {
        log: asked.frame("reports"),
        causes: causes.into_iter().flatten().take(MAX_LISTED).map(cause).collect(),
        changes,
        total: Number(all.len() as u64),
        next: (reached < all.len()).then_some(reached as u64),
        report: summary(name, &report),
    };
    respond(asked.format, &view)
}

/// The names of the files that may be reports, in order.
fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().take(MAX_FILES);
    let name = |file: std::io::Result<std::fs::DirEntry>| file.ok()?.file_name().into_string().ok();
    let is_report = |name: &String| name.strip_suffix(".json").is_some_and(is_segment);
    let mut names: Vec<_> = files.filter_map(name).filter(is_report).collect();
    names.sort_unstable();
    names
}

fn list(folder: &Path) -> Vec<ReportView> {
    let view = |file: String| {
        let name = file.strip_suffix(".json").unwrap_or(&file);
        match read(folder, &file) {
            Ok(report) => summary(name, &report),
            Err(problem) => ReportView {
                name: name.into(),
                problem: Some(problem.into()),
                ..ReportView::default()
            },
        }
    };
    names(folder).into_iter().take(MAX_LISTED).map(view).collect()
}

/// Reads a report: a file, and nothing that waits for a writer.
fn read(folder: &Path, file: &str) -> Result<Parsed, String> {
    let path = folder.join(file);
    let metadata = std::fs::metadata(&path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let opened = File::open(&path).map_err(|error| error.to_string())?;
    opened.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("longer than {MAX_BYTES} bytes; make it with fewer `--max-changes`"));
    }
    let parsed: Value = serde_json::from_slice(&bytes).map_err(|_| "not JSON".to_owned())?;
    if parsed.pointer("/evidence/digest").is_none() {
        return Err("not a report of `countersign impact --format json`".to_owned());
    }
    Ok(Parsed(parsed))
}

fn summary(name: &str, report: &Parsed) -> ReportView {
    let classes = report.0.pointer("/classes").and_then(Value::as_object);
    let classes = classes.into_iter().flatten().filter_map(|(class, count)| {
        let decisions = Number(count.as_u64().filter(|count| *count > 0)?);
        Some(ClassView { class: class.as_str().into(), decisions })
    });
    ReportView {
        name: name.into(),
        candidate: report.text("/candidate"),
        evidence: report.text("/evidence/digest"),
        read: report.number("/read").map(Number),
        compared: report.number("/compared").map(Number),
        faults: report.number("/faults").map(Number),
        classes: classes.collect(),
        problem: report.text("/damage"),
    }
}

fn cause(value: &Value) -> CauseView {
    let parsed = Parsed(value.clone());
    CauseView {
        class: parsed.text("/class").unwrap_or_default(),
        binding: parsed.text("/binding"),
        code: parsed.text("/code").unwrap_or_default(),
        decisions: Number(parsed.number("/decisions").unwrap_or(0)),
    }
}

fn change(value: &Value) -> ChangeView {
    let parsed = Parsed(value.clone());
    let text = |pointer: &str| parsed.text(pointer).unwrap_or_default();
    let outcome = |place: &str| match (
        parsed.has(&format!("/{place}/approved")),
        parsed.text(&format!("/{place}/approved/ttl_seconds")),
    ) {
        (true, ttl) => Text::from(format!("approved for {} s", ttl.unwrap_or_default().0)),
        (false, _) => {
            let reasons = parsed.reasons(&format!("/{place}/refused/reasons"));
            let codes: Vec<_> = reasons.iter().map(|reason| reason.code.as_str()).collect();
            Text::from(format!("refused: {}", codes.join(", ")))
        }
    };
    let causes = value.pointer("/causes").and_then(Value::as_array);
    let causes = causes.into_iter().flatten().map(|value| {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let words = [text("class"), text("binding"), text("code")];
        Text::from(words.into_iter().flatten().collect::<Vec<_>>().join(" "))
    });
    ChangeView {
        class: text("/class"),
        record: parsed.number("/record"),
        name: parsed.text("/name"),
        time: Time(parsed.number("/time").unwrap_or(0)),
        run: text("/run"),
        owning_workspace: text("/owning_workspace"),
        definition: text("/definition"),
        before: outcome("before"),
        after: outcome("after"),
        causes: causes.collect(),
    }
}
