//! Witnesses: others who cosign a log's checkpoints after they saw that each goes on from the one before
//! (C2SP tlog-witness, tlog-cosignature, tlog-policy).

use std::collections::BTreeMap;

use crate::note::{Note, NoteError};
use crate::subtree::{Subtrees, TreeError, consistency_proof};
use crate::tree_checkpoint::{TreeCheckpoint, decimal};
use crate::verifier_key::{VerifierKey, VerifierKeyError};

/// The maximum length of a policy, in bytes.
pub const MAX_POLICY_BYTES: usize = 64 << 10;

/// The maximum number of logs, of witnesses and of groups in a policy.
const MAX_ITEMS: usize = 128;
/// The maximum number of hashes that a witness takes.
const MAX_CONSISTENCY_HASHES: usize = 63;
/// The maximum length of an answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The logs and the witnesses that somebody trusts, and which of the witnesses must have cosigned a checkpoint.
#[derive(Debug, Clone)]
pub struct WitnessPolicy {
    /// The keys of the logs; empty where the log is known otherwise.
    pub logs: Vec<VerifierKey>,
    /// The witnesses.
    pub witnesses: Vec<Witness>,
    members: BTreeMap<String, Member>,
    /// `None` where no witness is needed.
    quorum: Option<String>,
}

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The name, within the policy.
    pub name: String,
    /// The key of its cosignatures.
    pub key: VerifierKey,
    /// The submission prefix; `None` where it is only verified.
    pub url: Option<String>,
}

#[derive(Debug, Clone)]
enum Member {
    /// By its place.
    Witness(usize),
    Group {
        needed: usize,
        members: Vec<String>,
    },
}

/// A text that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessPolicyError {
    /// It is longer than a policy may be, or has too many items.
    #[error(
        "a policy of more than {MAX_POLICY_BYTES} bytes, or of more than {MAX_ITEMS} logs, witnesses or groups"
    )]
    TooLong,
    /// It has other bytes than a policy may have.
    #[error("not a policy: it is not UTF-8, or has a control character")]
    Characters,
    /// A line is wrong.
    #[error("line {line}: {problem}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// The reason.
        problem: String,
    },
    /// There is no line with the quorum.
    #[error("no line `quorum NAME`; `quorum none` needs no witness")]
    NoQuorum,
}

/// The answer of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessAnswer {
    /// The status of HTTP.
    pub status: u16,
    /// The media type; empty if there is none.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Sends a body to a URL by POST, and returns the answer, or the reason that there is none. It bounds time and length.
pub type Ask<'a> = dyn FnMut(&str, &str) -> Result<WitnessAnswer, String> + 'a;

/// A checkpoint that was not cosigned as a policy needs it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// A proof cannot be made.
    #[error("the proof for the witnesses cannot be made")]
    Tree(#[from] TreeError),
    /// The checkpoint is none.
    #[error("the checkpoint is no signed note")]
    Note(#[from] NoteError),
    /// Not enough witnesses have cosigned.
    #[error("{cosigned} of {of} witnesses have cosigned, which the quorum is more than{}", listed(.reasons))]
    NoQuorum {
        /// The number of witnesses that have.
        cosigned: usize,
        /// The number of witnesses.
        of: usize,
        /// The reasons of those that have not, with their names.
        reasons: Vec<String>,
    },
}

impl WitnessPolicy {
    /// Parses a policy.
    ///
    /// # Errors
    /// Returns an error that names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, WitnessPolicyError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(WitnessPolicyError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| WitnessPolicyError::Characters)?;
        if text.bytes().any(|byte| (byte < 0x20 && !b"\t\n".contains(&byte)) || byte == 0x7f) {
            return Err(WitnessPolicyError::Characters);
        }
        let mut parsing = Parsing::default();
        for (number, line) in (1..).zip(text.split('\n')) {
            let words: Vec<_> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            if words.first().is_none_or(|word| word.starts_with('#')) {
                continue;
            }
            let read = parsing.line(&words);
            read.map_err(|problem| WitnessPolicyError::Line { line: number, problem })?;
        }
        let quorum = parsing.quorum.ok_or(WitnessPolicyError::NoQuorum)?;
        let policy = Self {
            logs: parsing.logs,
            witnesses: parsing.witnesses,
            members: parsing.members,
            quorum,
        };
        let counts = [policy.logs.len(), policy.witnesses.len(), policy.members.len() / 2];
        if counts.into_iter().any(|count| count > MAX_ITEMS) {
            return Err(WitnessPolicyError::TooLong);
        }
        Ok(policy)
    }

    /// The witnesses that cosigned a note, by their places, each with the time of its cosignature.
    ///
    /// # Errors
    /// Returns an error if a cosignature is forged, or the quorum is not met.
    pub fn verify(&self, note: &Note) -> Result<Vec<(usize, u64)>, WitnessError> {
        let keys: Vec<_> = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        let verified = match note.verify(&keys) {
            Ok((_, verified)) => verified,
            Err(NoteError::Unsigned { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        // One that signed twice is one.
        let cosigned: BTreeMap<_, _> = verified.iter().map(|one| (one.key, one.time)).collect();
        if self.is_met(&|place| cosigned.contains_key(&place)) {
            return Ok(cosigned.into_iter().collect());
        }
        let (cosigned, of) = (cosigned.len(), self.witnesses.len());
        Err(WitnessError::NoQuorum { cosigned, of, reasons: Vec::new() })
    }

    /// Asks every witness that has a URL to cosign the checkpoint `note`, whose tree is `tree`, and returns the note with
    /// all cosignatures that are the witnesses' own. `published` is the size of the checkpoint that was published before,
    /// which they have probably seen.
    ///
    /// # Errors
    /// Returns an error if the quorum is not met, with the reason of each witness that did not cosign.
    pub fn cosign(
        &self,
        note: &str,
        tree: &mut dyn Subtrees,
        published: u64,
        ask: &mut Ask<'_>,
    ) -> Result<String, WitnessError> {
        let parsed = Note::parse(note.as_bytes())?;
        let checkpoint = TreeCheckpoint::parse(parsed.unverified_text())
            .ok_or(NoteError::Form { problem: "the text is not that of a checkpoint" })?;
        let (mut cosigned, mut lines, mut reasons) = (Vec::new(), String::new(), Vec::new());
        for (place, witness) in self.witnesses.iter().enumerate() {
            let Some(url) = &witness.url else { continue };
            let asked = one(witness, url, note, tree, (published, checkpoint.size), ask);
            match asked {
                Ok(line) => {
                    cosigned.push(place);
                    lines.push_str(&line);
                    lines.push('\n');
                }
                Err(reason) => reasons.push(format!("{}: {reason}", witness.name.escape_debug())),
            }
        }
        if !self.is_met(&|place| cosigned.contains(&place)) {
            let (cosigned, of) = (cosigned.len(), self.witnesses.len());
            return Err(WitnessError::NoQuorum { cosigned, of, reasons });
        }
        Ok(format!("{note}{lines}"))
    }

    fn is_met(&self, has: &dyn Fn(usize) -> bool) -> bool {
        self.quorum.as_ref().is_none_or(|name| self.has_witnessed(name, has))
    }

    /// Groups name only members before them, so this ends.
    fn has_witnessed(&self, name: &str, has: &dyn Fn(usize) -> bool) -> bool {
        match self.members.get(name) {
            Some(Member::Witness(place)) => has(*place),
            Some(Member::Group { needed, members }) => {
                members.iter().filter(|member| self.has_witnessed(member, has)).count() >= *needed
            }
            None => false,
        }
    }
}

/// Asks one witness, and returns the line of its cosignature.
fn one(
    witness: &Witness,
    url: &str,
    note: &str,
    tree: &mut dyn Subtrees,
    (published, size): (u64, u64),
    ask: &mut Ask<'_>,
) -> Result<String, String> {
    let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
    let mut old = published.min(size);
    // Others may submit meanwhile, but no witness's size goes back.
    for _ in 0..4 {
        let proof = consistency_proof(tree, old, size).map_err(|error| error.to_string())?;
        if proof.len() > MAX_CONSISTENCY_HASHES {
            return Err("the proof is longer than a witness takes".to_owned());
        }
        let hashes: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
        let answer = ask(&url, &format!("old {old}\n{hashes}\n{note}"))?;
        let body = answer.body.get(..MAX_ANSWER_BYTES).unwrap_or(&answer.body);
        let body = std::str::from_utf8(body).map_err(|_| "the answer is not UTF-8".to_owned())?;
        match answer.status {
            200 => return cosignature(witness, note, body),
            409 if answer.content_type.starts_with("text/x.tlog.size") => {
                let known = body.strip_suffix('\n').and_then(decimal);
                let known = known.ok_or("the answer 409 has no size")?;
                if known > size {
                    return Err(format!(
                        "it has cosigned {known} records, this checkpoint has {size}: the log was cut, or this is an older copy"
                    ));
                }
                if known == old {
                    return Err(format!("it refuses {old} records and names the same number"));
                }
                old = known;
            }
            404 => return Err("404: it does not know this log's origin".to_owned()),
            403 => return Err("403: it does not trust the log's key".to_owned()),
            422 => {
                return Err(format!(
                    "422: the checkpoint does not go on from the one that it cosigned, of {old} records"
                ));
            }
            status => return Err(format!("status {status}, expected 200")),
        }
    }
    Err("it named another size four times".to_owned())
}

/// Finds the witness's own cosignature in its answer.
fn cosignature(witness: &Witness, note: &str, body: &str) -> Result<String, String> {
    let signed = Note::parse(format!("{note}{body}").as_bytes());
    let signed =
        signed.map_err(|error| format!("the answer is not of signature lines: {error}"))?;
    let verified = signed.verify(std::slice::from_ref(&witness.key));
    let (_, verified) = verified.map_err(|error| format!("no cosignature of its key: {error}"))?;
    let line = verified.into_iter().next().map(|verified| verified.line);
    line.ok_or_else(|| "no cosignature of its key".to_owned())
}

/// The part of a policy that was read.
#[derive(Default)]
struct Parsing {
    logs: Vec<VerifierKey>,
    witnesses: Vec<Witness>,
    members: BTreeMap<String, Member>,
    /// The names that are a member already.
    used: Vec<String>,
    /// Given, and the name, where it is one.
    quorum: Option<Option<String>>,
}

impl Parsing {
    fn line(&mut self, words: &[&str]) -> Result<(), String> {
        let key = |text: &str| VerifierKey::parse(text).map_err(|error| error.to_string());
        match words {
            ["log", vkey] | ["log", vkey, _] => {
                let key = key(vkey)?;
                if key.is_cosignature() {
                    return Err("the key of a log is one of cosignatures".to_owned());
                }
                if self.logs.iter().any(|other| other.is_same_key(&key)) {
                    return Err("the key of a log is given twice".to_owned());
                }
                self.logs.push(key);
            }
            ["witness", name, vkey] | ["witness", name, vkey, _] => {
                let key = key(vkey)?;
                if !key.is_cosignature() {
                    return Err(VerifierKeyError::Type { found: 1 }.to_string()
                        + "; a witness has one of type 0x04");
                }
                if self.witnesses.iter().any(|other| other.key.is_same_key(&key)) {
                    return Err("the key of a witness is given twice".to_owned());
                }
                self.define(name, Member::Witness(self.witnesses.len()))?;
                let url = words.get(3).map(|url| (*url).to_owned());
                self.witnesses.push(Witness { name: (*name).to_owned(), key, url });
            }
            ["group", name, needed, members @ ..] if !members.is_empty() => {
                let needed = match *needed {
                    "any" => 1,
                    "all" => members.len(),
                    number => decimal(number)
                        .and_then(|number| usize::try_from(number).ok())
                        .filter(|number| (1..=members.len()).contains(number))
                        .ok_or_else(|| {
                            format!("expected `any`, `all` or a number from 1 to {}", members.len())
                        })?,
                };
                for member in members {
                    self.defined(member)?;
                    if self.used.iter().any(|used| used == member) {
                        return Err(format!("`{}` is a member twice", member.escape_debug()));
                    }
                    self.used.push((*member).to_owned());
                }
                let members = members.iter().map(|member| (*member).to_owned()).collect();
                self.define(name, Member::Group { needed, members })?;
            }
            ["quorum", name] => {
                if self.quorum.is_some() {
                    return Err("a second quorum".to_owned());
                }
                if *name != "none" {
                    self.defined(name)?;
                }
                self.quorum = Some((*name != "none").then(|| (*name).to_owned()));
            }
            _ => {
                return Err(
                    "expected `log VKEY [URL]`, `witness NAME VKEY [URL]`, `group NAME any|all|K NAME…` or \
                     `quorum NAME`"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    fn defined(&self, name: &str) -> Result<(), String> {
        let is_known = self.members.contains_key(name);
        is_known
            .then_some(())
            .ok_or_else(|| format!("`{}` is not defined before", name.escape_debug()))
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), String> {
        if name == "none" || self.members.contains_key(name) {
            return Err(format!("the name `{}` is taken", name.escape_debug()));
        }
        self.members.insert(name.to_owned(), member);
        Ok(())
    }
}

fn listed(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("; {reason}")).collect()
}
