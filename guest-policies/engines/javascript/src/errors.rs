//! Errors of the interpreter as text, in one line and with the place in the author's source.

use boa_engine::{Context, JsError, JsValue};

use crate::engine::OWN_SCRIPT;
use crate::jumps;

/// The frames of a stack that a text has at most.
const MAX_FRAMES: usize = 5;

/// The prefix of a frame in the interpreter's own text.
const FRAME: &str = "    at ";

/// The text of an error: the place, the error, and the functions that it went through.
pub fn text(error: &JsError, context: &mut Context) -> String {
    let shown = error.to_string();
    let (before, mut frames) = with_frames(&shown);
    let message = match error.as_opaque() {
        Some(thrown) => {
            let (message, stack) = thrown_value(thrown, context);
            if frames.is_empty() {
                frames = stack;
            }
            message
        }
        None => match error.as_native() {
            // Its own text has a place as well, which is that of the first frame.
            Some(native) => format!("{}: {}", native.kind(), one_line(native.message())),
            None => one_line(&before),
        },
    };
    frames.retain(|frame| !frame.contains(OWN_SCRIPT));
    let place = frames.iter().find_map(|frame| place_in(frame));
    let mut text = match place {
        Some(place) => format!("{place}: {message}"),
        None => message,
    };
    // The first frame says no more than the place does.
    let more = frames.iter().filter(|frame| place_in(frame).is_some()).take(MAX_FRAMES);
    for (index, frame) in more.enumerate() {
        text.push_str(if index == 0 { "; at " } else { ", " });
        text.push_str(frame);
    }
    text
}

/// The text of an error of syntax, in which the interpreter names the place last, or not at all.
pub fn syntax(path: &str, source: &str, error: &JsError, context: &mut Context) -> String {
    let message = text(error, context);
    let Some((before, place)) = message.rsplit_once(" at line ") else {
        // The text ended too early, or is no JSON.
        let place = place(path, source, source.trim_end().len());
        return format!("{place}: {}", message.replace("abrupt end", "unexpected end of the text"));
    };
    if let Some(at) = second_declaration(before, source) {
        return format!("{}: {before}", self::place(path, source, at));
    }
    if before.contains("illegal break") || before.contains("illegal continue") {
        let at = jumps::misplaced(source).unwrap_or(0);
        return format!("{}: {before}", self::place(path, source, at));
    }
    match place.split_once(", col ").or_else(|| place.split_once(" column ")) {
        Some((line, column)) => format!("{path}:{line}:{column}: {before}"),
        None => format!("{path}: {message}"),
    }
}

/// The line and column of an offset in a text.
pub fn place(path: &str, text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{path}:{line}:{column}")
}

/// The offsets at which a text has a word, of letters as names have them.
pub fn word<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let (before, from) = text.split_at_checked(*at).unwrap_or_default();
        let after = from.get(word.len()..).unwrap_or_default();
        !word.is_empty() && !before.ends_with(is_name) && !after.starts_with(is_name)
    })
}

/// The offset of the second declaration of a name that an error says is declared twice: the interpreter says that of the
/// whole text.
fn second_declaration(message: &str, source: &str) -> Option<usize> {
    let name = message.contains("declared multiple times").then(|| message.split('`').nth(1))??;
    let declares = |at: &usize| {
        let before = source.get(..*at).unwrap_or_default().trim_end();
        ["let", "const", "class", "function", "var"].iter().any(|word| before.ends_with(word))
    };
    word(source, name).filter(declares).nth(1)
}

/// Says what was thrown, with the stack that an error has.
fn thrown_value(thrown: &JsValue, context: &mut Context) -> (String, Vec<String>) {
    if let Some(text) = thrown.as_string() {
        return (format!("threw the text `{}`", one_line(&text.to_std_string_escaped())), vec![]);
    }
    let Some(object) = thrown.as_object() else {
        return (format!("threw {}", one_line(&thrown.display().to_string())), vec![]);
    };
    // What the author's own `toString` throws does not matter beside what was thrown first.
    let text = thrown.to_string(context).map(|text| one_line(&text.to_std_string_escaped()));
    let stack = object.get(boa_engine::js_string!("stack"), context).ok();
    let stack = stack.and_then(|stack| stack.as_string()).map(|stack| {
        let stack = stack.to_std_string_escaped();
        let frames = stack.lines().filter_map(|line| line.trim().strip_prefix("at "));
        frames.map(str::to_owned).collect()
    });
    (text.unwrap_or_else(|_| "threw an object".to_owned()), stack.unwrap_or_default())
}

/// Takes an error's text apart: what is before the stack, and the frames.
fn with_frames(shown: &str) -> (String, Vec<String>) {
    let lines: Vec<_> = shown.lines().collect();
    let frames = lines.iter().rev().take_while(|line| line.starts_with(FRAME)).count();
    let (before, frames) = lines.split_at(lines.len() - frames);
    let frames = frames.iter().filter_map(|line| line.strip_prefix(FRAME));
    (before.join(" "), frames.map(str::to_owned).collect())
}

/// The place that a frame names: not that of a function of the interpreter.
fn place_in(frame: &str) -> Option<&str> {
    let place = frame.strip_suffix(')')?.rsplit('(').next()?;
    let mut parts = place.rsplit(':');
    let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
    (is_number(parts.next()) && is_number(parts.next())).then_some(place)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
