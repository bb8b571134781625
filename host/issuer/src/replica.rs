//! A service that is one of several: what it tells the others, and what follows from what they tell.
//!
//! ```text
//! each second: Beat (digests, checkpoint) ─→ database ─→ Register ─→ Standing: may tokens leave here?
//!                                                              └─→ checkpoints of the others ─→ anchors in the own log
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_decision_log::{ReadError, Reader, SignedCheckpoint};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{CheckpointSigner, CheckpointVerifier};
use crate::store::{Membership, PostgresStore, ReplicaEntry, SharedReleases, TakenReleases};

/// The seconds by which the clock of a replica may differ from the database's.
pub(crate) const CLOCK_TOLERANCE: u64 = 10;

/// The form of the digests that replicas compare. Programs of different versions make different ones of the same files.
///
/// INVARIANT: the number is raised when something else goes into one of them.
const FORM: &str = concat!(env!("CARGO_PKG_VERSION"), "+3");

/// The records at the end of a log among which the last anchors are looked for.
const RECORDS: u64 = 8192;

/// The parts that make a service one of several replicas.
pub struct Replica {
    /// Its name in the register, and this process.
    pub member: Membership,
    /// The store that the replicas share.
    pub store: Arc<PostgresStore>,
    /// Signs the checkpoints that the others see.
    pub key: CheckpointSigner,
    /// The JWK Set with the key that verifies them.
    pub key_set: String,
    /// The time for which it issues tokens without having seen the database.
    pub poll: Duration,
    /// The last checkpoints of the others in its own log.
    pub anchors: BTreeMap<String, SignedCheckpoint>,
}

/// The reason for which a replica issues no token, though it could.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReplicaProblem {
    /// It has not seen the database for longer than it polls it.
    CutOff,
    /// Others, of which there are more, or who changed last, have another policy set or access configuration.
    Differs,
    /// Its clock differs from the database's.
    Clock,
}

impl ReplicaProblem {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::CutOff, Self::Differs, Self::Clock];

    /// The code that metrics, `/readyz` and lines of the log have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CutOff => "replica-cut-off",
            Self::Differs => "replica-differs",
            Self::Clock => "replica-clock",
        }
    }
}

/// The standing of a replica among the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The reason for which it issues no token, with what `/readyz` says of it.
    pub(crate) problem: Option<(ReplicaProblem, String)>,
    /// The differences that are others' to mend, one a line.
    pub(crate) remarks: Vec<String>,
}

/// A digest, as replicas compare it: with its form.
pub(crate) fn compared(digest: &countersign::Digest) -> String {
    format!("{FORM} {digest}")
}

/// The form of what a replica told; empty of a program that named none.
fn form(entry: &ReplicaEntry) -> &str {
    entry.beat.policy_set.rsplit_once(' ').map_or("", |(form, _)| form)
}

/// The reason for which a replica must not decide by the releases that it has taken, whatever the others do: the database has
/// fewer steps, or has had another release decide for longer than `spreads`, and this replica has not tried to take it. One
/// that tried and failed has told the last step as `failed`; it keeps its policies, and the others are who it is compared with.
pub(crate) fn release_problem(
    taken: &TakenReleases,
    failed: u64,
    shared: &SharedReleases,
    spreads: Duration,
) -> Option<(ReplicaProblem, String)> {
    let is_behind = taken.deciding < shared.deciding && failed < shared.deciding;
    let said = if shared.step < taken.step {
        let (found, expected) = (shared.step, taken.step);
        format!("the database has {found} steps of releases, and this replica has taken {expected}")
    } else if is_behind && is_spread(shared, spreads) {
        format!("this replica has not taken step {} of releases yet", shared.deciding)
    } else {
        return None;
    };
    Some((ReplicaProblem::Differs, said))
}

/// Tells whether the release that decides has done so for so long that every replica should have taken it. Where none does, there
/// is nothing to take.
pub(crate) fn is_spread(shared: &SharedReleases, spreads: Duration) -> bool {
    shared.deciding == 0 || u128::from(shared.deciding_for) >= spreads.as_millis()
}

/// Compares the policy set and the access configuration of a replica with those of the others that are there. Of two
/// groups the one goes on that decides by a later step of releases, then the larger one, and of two that are as large the one
/// that changed last: so some replica always does, also while a change reaches one after the other. While a release spreads
/// (`is_spread` is false), policy sets are not compared: for that moment either release decides somewhere. Those whose digests
/// are of another form are not compared: the first replica of a new version would never be ready otherwise, and an upgrade that
/// waits for it would never go on.
pub(crate) fn standing(name: &str, there: &[&ReplicaEntry], is_spread: bool) -> Standing {
    let Some(own) = there.iter().find(|entry| entry.name == name) else {
        return Standing::default();
    };
    let policies = |entry: &ReplicaEntry| match is_spread {
        true => entry.beat.policy_set.clone(),
        false => String::new(),
    };
    let config = |entry: &ReplicaEntry| (policies(entry), entry.beat.access.clone());
    // One that has just started has told nothing yet.
    let told = there.iter().filter(|entry| !entry.beat.policy_set.is_empty());
    let unlike = told.clone().filter(|entry| form(entry) != form(own));
    let told = told.filter(|entry| form(entry) == form(own));
    let mut groups: BTreeMap<(String, String), (u64, usize, i64)> = BTreeMap::new();
    for entry in told.clone() {
        let group = groups.entry(config(entry)).or_default();
        let step = if is_spread { entry.beat.releases.deciding } else { 0 };
        *group = (group.0.max(step), group.1 + 1, group.2.max(entry.configured_at));
    }
    let others: Vec<_> = told.filter(|entry| config(entry) != config(own)).collect();
    let others_of_version = unlike.map(|other| {
        let name = countersign::visible(&other.name);
        format!("replica {name} is of another version, so that its configuration is not compared")
    });
    let remarks = others.iter().map(|other| difference(own, other, is_spread));
    let remarks = remarks.chain(others_of_version);
    let remarks: Vec<_> = remarks.collect();
    let rank = |config: &(String, String)| groups.get(config).copied().unwrap_or_default();
    let own_rank = rank(&config(own));
    let outranks = |other: &&&&ReplicaEntry| rank(&config(other)) > own_rank;
    match others.iter().find(outranks) {
        None => Standing { problem: None, remarks },
        Some(other) => {
            let problem = (ReplicaProblem::Differs, difference(own, other, is_spread));
            Standing { problem: Some(problem), remarks }
        }
    }
}

fn difference(own: &ReplicaEntry, other: &ReplicaEntry, is_spread: bool) -> String {
    let mut parts = Vec::new();
    if is_spread && own.beat.policy_set != other.beat.policy_set {
        parts.push(match own.beat.releases.deciding.cmp(&other.beat.releases.deciding) {
            std::cmp::Ordering::Less => "a later release",
            std::cmp::Ordering::Equal => "another policy set",
            std::cmp::Ordering::Greater => "an earlier release",
        });
    }
    if own.beat.access != other.beat.access {
        parts.push("another access configuration");
    }
    format!("replica {} has {}", countersign::visible(&other.name), parts.join(" and "))
}

/// The checkpoint that a replica told, if its signature is by the key that it told, and the name of the key.
pub(crate) fn told_checkpoint(entry: &ReplicaEntry) -> Option<SignedCheckpoint> {
    let checkpoint: SignedCheckpoint = serde_json::from_str(&entry.beat.checkpoint).ok()?;
    let key = CheckpointVerifier::parse(entry.beat.checkpoint_key.as_bytes()).ok()?;
    checkpoint.is_signed_by(&key).then_some(checkpoint)
}

/// A checkpoint of another replica's log, in the log of one: the records before it in either cannot be changed any more
/// without the other log telling so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The name of the replica.
    pub replica: String,
    /// The checkpoint, with its signature.
    #[serde(flatten)]
    pub checkpoint: SignedCheckpoint,
}

/// The record of anchors, all that are new.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn anchor_record(anchors: &[Anchor], time: u64) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct AnchorRecord<'r> {
        version: u32,
        kind: &'static str,
        time: u64,
        anchors: &'r [Anchor],
    }
    serde_json::to_vec(&AnchorRecord { version: 1, kind: "anchor", time, anchors })
}

/// The record of a replica that finds another process in its place, or a database of an earlier time: it had been there
/// `expected` times. A start compares that with the database, whatever else is on record.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn displaced_record(
    found: i64,
    expected: i64,
    time: u64,
) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct DisplacedRecord {
        version: u32,
        kind: &'static str,
        time: u64,
        found: i64,
        changes: i64,
    }
    let changes = expected;
    serde_json::to_vec(&DisplacedRecord { version: 1, kind: "displaced", time, found, changes })
}

/// The anchors of a record; none where it is another one.
pub fn anchors_of(record: &[u8]) -> Vec<Anchor> {
    #[derive(Deserialize)]
    struct AnchorView<'r> {
        kind: &'r str,
        #[serde(default)]
        anchors: Vec<AnchorMembers>,
    }
    // `flatten` and `deny_unknown_fields` do not go together.
    #[derive(Deserialize)]
    struct AnchorMembers {
        replica: String,
        checkpoint: countersign_decision_log::Checkpoint,
        signature: String,
    }
    let view: Option<AnchorView<'_>> = serde_json::from_slice(record).ok();
    let view = view.filter(|view| view.kind == "anchor");
    let anchors = view.map(|view| view.anchors).unwrap_or_default();
    anchors
        .into_iter()
        .map(|AnchorMembers { replica, checkpoint, signature }| Anchor {
            replica,
            checkpoint: SignedCheckpoint { checkpoint, signature },
        })
        .collect()
}

/// The last anchors in a log, by the replicas that they are of. Those that are far from its end are not found.
///
/// # Errors
/// When the log cannot be read.
pub fn last_anchors(log: &Path) -> Result<BTreeMap<String, SignedCheckpoint>, ReadError> {
    let mut anchors = BTreeMap::new();
    let mut reader = Reader::tail(log, RECORDS)?;
    while let Some(entry) = reader.read()? {
        for anchor in anchors_of(&entry.record) {
            anchors.insert(anchor.replica, anchor.checkpoint);
        }
    }
    Ok(anchors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Beat;

    fn entry(name: &str, policy_set: &str, configured_at: i64) -> ReplicaEntry {
        let beat = Beat {
            plan_version: 1,
            policy_set: policy_set.to_owned(),
            access: "access".to_owned(),
            log_sequence: 0,
            log_hash: String::new(),
            checkpoint: String::new(),
            checkpoint_key: String::new(),
            releases: TakenReleases::default(),
        };
        ReplicaEntry { name: name.to_owned(), age_seconds: 0, stopped: false, configured_at, beat }
    }

    /// The replicas that go on.
    fn going_on<'e>(entries: &[&'e ReplicaEntry]) -> Vec<&'e str> {
        let goes_on =
            |entry: &&&ReplicaEntry| standing(&entry.name, entries, true).problem.is_none();
        entries.iter().filter(goes_on).map(|entry| entry.name.as_str()).collect()
    }

    #[test]
    fn of_replicas_that_differ_some_always_go_on() {
        let (a, b, c) = (entry("a", "1", 10), entry("b", "1", 11), entry("c", "1", 12));
        assert_eq!(going_on(&[&a, &b, &c]), ["a", "b", "c"]);
        // A change that reaches one after the other.
        let a = entry("a", "2", 20);
        assert_eq!(going_on(&[&a, &b, &c]), ["b", "c"]);
        let b = entry("b", "2", 21);
        assert_eq!(going_on(&[&a, &b, &c]), ["a", "b"]);
        let c = entry("c", "2", 22);
        assert_eq!(going_on(&[&a, &b, &c]), ["a", "b", "c"]);
        // Of two, the one that changed last; of three that all differ, too.
        assert_eq!(going_on(&[&entry("a", "1", 5), &entry("b", "2", 6)]), ["b"]);
        assert_eq!(
            going_on(&[&entry("a", "1", 9), &entry("b", "2", 6), &entry("c", "3", 7)]),
            ["a"]
        );
        // One that has told nothing yet keeps nobody from going on.
        assert_eq!(going_on(&[&entry("a", "1", 5), &entry("b", "", 6)]), ["a"]);
        assert_eq!(going_on(&[&entry("a", "1", 5)]), ["a"]);
        // An upgrade: those of either version are not compared with the others, whose digests have another form.
        let (a, b, c) = (entry("a", "2+1 x", 30), entry("b", "1", 11), entry("c", "1", 12));
        assert_eq!(going_on(&[&a, &b, &c]), ["a", "b", "c"]);
        let said = standing("a", &[&a, &b], true);
        let expected = "replica b is of another version, so that its configuration is not compared";
        assert_eq!((said.problem, said.remarks), (None, vec![expected.to_owned()]));
        // Those of one version are compared all the same.
        let (b, c) = (entry("b", "2+1 y", 31), entry("c", "2+1 y", 32));
        assert_eq!(going_on(&[&a, &b, &c]), ["b", "c"]);
        let said = standing("a", &[&entry("a", "1", 5), &entry("b", "2", 6)], true);
        let expected = (ReplicaProblem::Differs, "replica b has another policy set".to_owned());
        assert_eq!(said.problem, Some(expected));
        let said = standing("b", &[&entry("a", "1", 5), &entry("b", "2", 6)], true);
        assert_eq!(said.remarks, ["replica a has another policy set"]);
    }

    fn of_step(name: &str, policy_set: &str, step: u64) -> ReplicaEntry {
        let mut entry = entry(name, policy_set, 1);
        entry.beat.releases = TakenReleases { step, deciding: step, candidate: String::new() };
        entry
    }

    #[test]
    fn while_a_release_spreads_nobody_differs_and_afterwards_the_later_one_goes_on() {
        let (a, b, c) = (of_step("a", "2", 4), of_step("b", "1", 2), of_step("c", "1", 2));
        let there = [&a, &b, &c];
        for entry in there {
            assert_eq!(standing(&entry.name, &there, false), Standing::default());
        }
        // The others are more, and decide by what was replaced.
        assert_eq!(going_on(&there), ["a"]);
        let problem = standing("b", &there, true).problem.map(|(_, said)| said);
        assert_eq!(problem.as_deref(), Some("replica a has a later release"));
        assert_eq!(standing("a", &there, true).remarks[0], "replica b has an earlier release");
        // Nobody could take it: all go on with what they have.
        assert_eq!(going_on(&[&b, &c]), ["b", "c"]);
        // A step that changes no policies is no difference.
        assert_eq!(going_on(&[&of_step("a", "1", 4), &b, &c]), ["a", "b", "c"]);
        // Access is compared all the while.
        let mut other = of_step("c", "1", 2);
        other.beat.access = "another".to_owned();
        let there = [&a, &b, &other];
        let said = standing("c", &there, false).problem.map(|(_, said)| said);
        assert_eq!(said.as_deref(), Some("replica a has another access configuration"));
        assert_eq!(standing("a", &there, false).problem, None);
    }

    #[test]
    fn a_replica_that_has_not_tried_to_take_what_decides_issues_nothing() {
        let spreads = Duration::from_secs(4);
        let taken = |step, deciding| TakenReleases { step, deciding, candidate: String::new() };
        let shared = |step, deciding, deciding_for| SharedReleases { step, deciding, deciding_for };
        let said = |taken: TakenReleases, failed, shared: SharedReleases| {
            release_problem(&taken, failed, &shared, spreads).map(|(_, said)| said)
        };
        assert_eq!(said(taken(0, 0), 0, shared(0, 0, 0)), None);
        assert_eq!(said(taken(5, 5), 0, shared(5, 5, 9000)), None);
        // Staged since, which changes nothing that decides.
        assert_eq!(said(taken(5, 5), 0, shared(6, 5, 9000)), None);
        assert_eq!(said(taken(5, 5), 0, shared(6, 6, 3999)), None);
        let behind = said(taken(5, 5), 0, shared(6, 6, 4000));
        assert_eq!(behind.as_deref(), Some("this replica has not taken step 6 of releases yet"));
        assert_eq!(said(taken(5, 5), 6, shared(6, 6, 4000)), None);
        assert!(said(taken(5, 5), 6, shared(8, 8, 4000)).is_some());
        let back = said(taken(5, 5), 0, shared(4, 4, 0)).unwrap();
        assert!(back.contains("has 4 steps of releases, and this replica has taken 5"), "{back}");
        // Policy sets are compared where no release decides, and once one has spread.
        for (shared, expected) in
            [(shared(0, 0, 0), true), (shared(1, 0, 0), true), (shared(6, 6, 3999), false)]
        {
            assert_eq!(is_spread(&shared, spreads), expected, "{shared:?}");
        }
    }

    #[test]
    fn anchors_are_read_as_they_were_written() {
        let checkpoint = countersign_decision_log::Checkpoint {
            sequence: 7,
            hash: "hash".to_owned(),
            time: 9,
            kid: "kid".to_owned(),
            tree: None,
        };
        let checkpoint = SignedCheckpoint { checkpoint, signature: "signature".to_owned() };
        let anchors = [Anchor { replica: "a".to_owned(), checkpoint }];
        let record = anchor_record(&anchors, 10).expect("it has no maps with other keys");
        assert_eq!(anchors_of(&record), anchors);
        assert_eq!(anchors_of(br#"{"version":1,"kind":"token"}"#), []);
        assert_eq!(anchors_of(b"x"), []);
    }
}
