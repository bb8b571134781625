//! The pages: each parses its query, reads what it shows, and answers in the form that is asked for.

mod explanation;
mod keys;
mod policies;
mod record;
mod refusals;
mod releases;
mod reports;
mod search;

use askama::Template;
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::answer::{self, Body, Format, View, respond};
use crate::frame::LogStatus;
use crate::problem::Problem;
use crate::text::Text;

pub(crate) use self::explanation::explanation;
pub(crate) use self::keys::keys;
pub(crate) use self::policies::{policies, policy_set};
pub(crate) use self::record::record;
pub(crate) use self::refusals::refusals;
pub(crate) use self::releases::{release, releases};
pub(crate) use self::reports::{report, reports};
pub(crate) use self::search::search;

/// A problem in the place of a page.
#[derive(Template, Serialize)]
#[template(path = "problem.html")]
struct ProblemView<'p> {
    error: &'static str,
    error_description: Text,
    #[serde(skip)]
    base: &'p str,
    #[serde(skip)]
    status: u16,
}

/// The logs.
#[derive(Template, Serialize)]
#[template(path = "logs.html")]
struct LogsView<'p> {
    logs: Vec<LogStatus>,
    #[serde(skip)]
    base: &'p str,
}

impl View for ProblemView<'_> {
    fn lines(&self) -> Vec<Value> {
        vec![value(self)]
    }
}

impl View for LogsView<'_> {
    fn lines(&self) -> Vec<Value> {
        self.logs.iter().map(value).collect()
    }
}

/// Answers with a problem.
pub(crate) fn problem(base: &str, format: Format, problem: Problem) -> Response<Body> {
    let status = problem.status;
    let view = ProblemView {
        error: problem.word(),
        error_description: problem.text.into(),
        base,
        status: status.as_u16(),
    };
    answer::respond_with(status, format, &view).unwrap_or_else(|_| {
        let plain = "text/plain; charset=utf-8";
        answer::answer(StatusCode::INTERNAL_SERVER_ERROR, plain, "the page could not be made\n")
    })
}

/// Answers with the logs.
pub(crate) fn logs(
    base: &str,
    format: Format,
    logs: Vec<LogStatus>,
) -> Result<Response<Body>, Problem> {
    respond(format, &LogsView { logs, base })
}

/// The JSON of a view or an item.
fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}
