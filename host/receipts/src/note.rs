//! Signed notes (C2SP signed-note).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::verifier_key::{VerifierKey, is_name};

/// The maximum length of a note, in bytes: room for sixteen signatures of any type in use.
pub const MAX_NOTE_BYTES: usize = 256 << 10;

/// The maximum number of signatures of a note.
const MAX_SIGNATURES: usize = 64;

/// A note whose signatures were not looked at. Its text means nothing before [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
    /// The line as it is, without its line break.
    line: String,
}

/// A signature that a key made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key, by its place among those that were given.
    pub key: usize,
    /// The time of a cosignature, in seconds since 1970; 0 of another signature.
    pub time: u64,
    /// The signature line, without its line break.
    pub line: String,
}

/// A note that is none, or that was not signed as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// It is longer than a note may be.
    #[error("a note of more than {MAX_NOTE_BYTES} bytes")]
    TooLong,
    /// It is not of the form.
    #[error("not a signed note: {problem}")]
    Form {
        /// The reason.
        problem: &'static str,
    },
    /// A signature that has the name and the id of a key is not the key's.
    #[error("the signature of `{name}` does not verify: the note or the signature was changed")]
    Forged {
        /// The key's name.
        name: String,
    },
    /// No key has signed it.
    #[error("none of the given keys has signed it; it is signed by {}", names(.found))]
    Unsigned {
        /// The names of its signatures.
        found: Vec<String>,
    },
}

impl Note {
    /// Parses a note.
    ///
    /// # Errors
    /// Returns an error if it is too long or not of the form.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let form = |problem| NoteError::Form { problem };
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| form("it is not UTF-8"))?;
        if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(form("it has a control character"));
        }
        // The last empty line separates the text, which may have some itself.
        let (text, signatures) =
            note.rsplit_once("\n\n").ok_or_else(|| form("no empty line before signatures"))?;
        let lines = signatures
            .strip_suffix('\n')
            .ok_or_else(|| form("the last line has no line break"))?
            .split('\n');
        let signatures: Vec<_> = lines.map(Signature::parse).collect::<Result<_, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(form("more than 64 signatures"));
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The text, whose signatures were not looked at: to choose the keys by the origin that it names.
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// Verifies every signature whose name and id are those of one of `keys`, and ignores the others, as C2SP has it.
    ///
    /// # Errors
    /// Returns an error if one of them is not the key's, or no key has signed the note.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<(&str, Vec<Verified>), NoteError> {
        let mut verified = Vec::new();
        for signature in &self.signatures {
            let is_own =
                |key: &VerifierKey| key.name() == signature.name && key.id() == signature.id;
            // Two keys may have one id: the signature must then be one's.
            let mut own = keys.iter().enumerate().filter(|(_, key)| is_own(key)).peekable();
            if own.peek().is_none() {
                continue;
            }
            let made = own
                .find_map(|(place, key)| Some((place, key.verify(&self.text, &signature.bytes)?)));
            let Some((key, time)) = made else {
                return Err(NoteError::Forged { name: signature.name.clone() });
            };
            verified.push(Verified { key, time, line: signature.line.clone() });
        }
        if verified.is_empty() {
            let found = self.signatures.iter().map(|signature| signature.name.clone()).collect();
            return Err(NoteError::Unsigned { found });
        }
        Ok((&self.text, verified))
    }
}

impl Signature {
    fn parse(line: &str) -> Result<Self, NoteError> {
        let form = |problem| NoteError::Form { problem };
        let rest = line
            .strip_prefix("— ")
            .ok_or_else(|| form("a signature line does not begin with an em dash"))?;
        let (name, blob) =
            rest.split_once(' ').ok_or_else(|| form("a signature line has no signature"))?;
        if !is_name(name) {
            return Err(form("the name of a signature has a space or a plus, or is empty"));
        }
        let blob = BASE64_STANDARD.decode(blob);
        let blob = blob.map_err(|_| form("a signature is not base64 (RFC 4648 section 4)"))?;
        let (id, bytes) = blob
            .split_first_chunk::<4>()
            .filter(|(_, bytes)| !bytes.is_empty())
            .ok_or_else(|| form("a signature is shorter than a key id"))?;
        let (name, line) = (name.to_owned(), line.to_owned());
        Ok(Self { name, id: *id, bytes: bytes.to_vec(), line })
    }
}

/// Names as a list, escaped and bounded.
fn names(found: &[String]) -> String {
    let shown = found.iter().take(8).map(|name| {
        let name: String = name.escape_debug().take(128).collect();
        format!("`{name}`")
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if found.len() > 8 {
        text.push_str(" and others");
    }
    text
}
