//! The log that is compared, which the bench makes itself.

use std::path::Path;
use std::thread;

use countersign::{Behavior, Claims, PolicySet};
use countersign_benches::{claims_of, five_policies, set_of, triggered_run};
use countersign_decision_log::{CheckpointKey, Folder, Log, LogConfig};

/// Records that are written with one sync.
const BATCH: usize = 512;

/// "Signs" by a checksum: signatures are not measured here.
pub(crate) struct Key;

impl CheckpointKey for Key {
    fn kid(&self) -> &str {
        "bench"
    }

    fn sign(&self, message: &[u8]) -> Option<String> {
        let sum = message.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Some(format!("{sum:016x}"))
    }

    fn verify(&self, message: &[u8], signature: &str) -> bool {
        self.sign(message).as_deref() == Some(signature)
    }
}

/// Makes a log of so many decisions of the five policies: of 26 owners and three behaviors, some of which are refused.
pub(crate) fn make(folder: &Path, decisions: usize) {
    std::fs::create_dir_all(folder).expect("a folder");
    let set = set_of(&five_policies());
    let disk = Folder::open(folder).expect("a folder");
    let (mut log, _) = Log::open(disk, LogConfig::default(), Box::new(Key)).expect("a log");
    let mut next = 0;
    while next < decisions {
        let end = decisions.min(next + BATCH);
        let records = batch(&set, next, end);
        log.append(&records, end as u64).expect("records that are durable");
        next = end;
    }
    log.checkpoint(decisions as u64).expect("a checkpoint");
}

/// The records of decisions, made by all processors.
fn batch(set: &PolicySet, from: usize, to: usize) -> Vec<Vec<u8>> {
    let middle = from + (to - from) / 2;
    let records = |numbers: std::ops::Range<usize>| numbers.map(|n| record(set, n)).collect();
    thread::scope(|scope| {
        let second = scope.spawn(|| records(middle..to));
        let first: Vec<Vec<u8>> = records(from..middle);
        let second: Vec<Vec<u8>> = second.join().expect("records");
        [first, second].concat()
    })
}

/// The record of a decision, with as much around it as a service's has.
fn record(set: &PolicySet, number: usize) -> Vec<u8> {
    let decision = set.evaluate(claims_number(number));
    let time = 1_790_000_000 + number / 100;
    format!(
        r#"{{"version":1,"kind":"token","request":"0b5a3b2e-7a4e-4d55-9a5c-{number:012x}","client":"192.0.2.17","time":{time},"requester":{{"run_token":{{"runner":"98520496-627d-43e6-82da-ce499179ff3f"}}}},"changes":{number},"decision":{}}}"#,
        decision.json()
    )
    .into_bytes()
}

fn claims_number(number: usize) -> Claims {
    let mut run = triggered_run();
    let owner = match number % 26 {
        0 => "my-workspace".to_owned(),
        other => format!("team-{other}"),
    };
    run.id = format!("{number:08x}-0000-4000-8000-000000000000").parse().expect("an id");
    run.building_block.workspace = owner.parse().expect("a workspace");
    run.behavior = [Behavior::Apply, Behavior::Detect, Behavior::Destroy][number / 26 % 3];
    claims_of(run)
}
