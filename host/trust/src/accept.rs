//! Comments in a source that accept findings: `# countersign: accept no-audience the provider has one client id`.

/// The maximum number of comments of a file that are read.
const MAX_COMMENTS: usize = 10_000;

/// A comment that accepts a finding of its own line, or of the next line that is no comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comment {
    /// The line of the comment, from 1.
    pub(crate) line: usize,
    /// The line that it is about.
    pub(crate) about: usize,
    /// The code of the finding.
    pub(crate) code: String,
    pub(crate) reason: String,
}

/// Finds the comments of a file. `//` begins one as `#` does.
pub(crate) fn comments(text: &str) -> Vec<Comment> {
    let lines: Vec<&str> = text.lines().collect();
    let is_comment =
        |line: &str| line.trim_start().starts_with('#') || line.trim_start().starts_with("//");
    // The next line that is no comment, from each line on.
    let mut next = vec![lines.len(); lines.len() + 1];
    for (at, line) in lines.iter().enumerate().rev() {
        let is_skipped = is_comment(line) || line.trim().is_empty();
        let after = next.get(at + 1).copied().unwrap_or(lines.len());
        if let Some(next) = next.get_mut(at) {
            *next = if is_skipped { after } else { at };
        }
    }
    let found = lines.iter().enumerate().filter_map(|(at, line)| {
        let (before, rest) = line.split_once("countersign: accept")?;
        let before = before.trim_end();
        let is_marked = before.ends_with('#') || before.ends_with("//");
        let mut words = rest.split_whitespace();
        let code = words.next().unwrap_or_default().to_owned();
        let reason = words.collect::<Vec<_>>().join(" ");
        let about = if is_comment(line) { next.get(at).copied().unwrap_or(at) } else { at };
        is_marked.then_some(Comment { line: at + 1, about: about + 1, code, reason })
    });
    found.take(MAX_COMMENTS).collect()
}

#[cfg(test)]
mod tests {
    use super::comments;

    #[test]
    fn comments_are_about_their_line_or_the_next() {
        let text = "# countersign: accept no-audience it has one\n# more\nresource {}\na = 1 # countersign: accept x\nb = \"countersign: accept y\"\n";
        let found: Vec<_> =
            comments(text).into_iter().map(|c| (c.line, c.about, c.code, c.reason)).collect();
        assert_eq!(
            found,
            [
                (1, 3, "no-audience".to_owned(), "it has one".to_owned()),
                (4, 4, "x".to_owned(), String::new()),
            ]
        );
    }
}
