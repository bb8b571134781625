//! Comments in a source that accept findings: `# countersign: accept no-audience the provider has one client id`.

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
    let found = lines.iter().enumerate().filter_map(|(at, line)| {
        let (before, rest) = line.split_once("countersign: accept")?;
        let before = before.trim_end();
        let is_marked = before.ends_with('#') || before.ends_with("//");
        let mut words = rest.split_whitespace();
        let code = words.next().unwrap_or_default().to_owned();
        let reason = words.collect::<Vec<_>>().join(" ");
        let next = || {
            let next =
                lines.iter().skip(at).position(|line| !is_comment(line) && !line.trim().is_empty());
            next.map_or(at, |next| at + next)
        };
        let about = if is_comment(line) { next() } else { at };
        is_marked.then_some(Comment { line: at + 1, about: about + 1, code, reason })
    });
    found.collect()
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
