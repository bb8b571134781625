//! The configuration of a cluster's signer.

use countersign::{Audience, RunId};
use countersign_clouds::AudienceClouds;

/// The length of a UUID's text, in bytes.
const UUID_BYTES: usize = 36;

/// `[kubernetes-signer]`, without its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSignerConfig {
    /// `mode`: shadow unless given.
    pub mode: SignerMode,
    /// `pass`: the API server's own audiences, signed without a decision. None is a cloud's.
    pub pass: Vec<Audience>,
    /// `decide`: audiences that policies decide on.
    pub decide: Vec<Audience>,
    /// `namespaces`: those whose pods may have runs.
    pub namespaces: Vec<String>,
    /// `pod-prefix`: the beginning of the name of a run's pod, before the UUID of the run.
    pub pod_prefix: String,
    /// `max-expiration-seconds`: the maximum lifetime of any token of a service account.
    pub max_expiration_seconds: u64,
    /// `refresh-seconds`: the seconds after which the API server fetches keys again.
    pub refresh_hint_seconds: u64,
}

/// The effect of decisions on the tokens of service accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignerMode {
    /// Everything is signed, and on record with what would be refused.
    Shadow,
    /// Only what policies approve is signed, beside tokens for the API server itself.
    Enforce,
}

impl ClusterSignerConfig {
    /// The first audience of `pass` that is a cloud's, if any is.
    pub fn passed_cloud(&self, clouds: &AudienceClouds) -> Option<&Audience> {
        self.pass.iter().find(|audience| clouds.of(audience.as_str()).is_some())
    }

    /// The run that a pod's name names: the prefix, a UUID, and nothing or a dash and more.
    pub fn run_of(&self, pod: &str) -> Option<RunId> {
        let rest = pod.strip_prefix(&self.pod_prefix)?;
        let (id, rest) = (rest.get(..UUID_BYTES)?, rest.get(UUID_BYTES..)?);
        if !rest.is_empty() && !rest.starts_with('-') {
            return None;
        }
        RunId::parse(id).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_names_its_run_exactly() {
        let config = ClusterSignerConfig {
            mode: SignerMode::Shadow,
            pass: Vec::new(),
            decide: Vec::new(),
            namespaces: Vec::new(),
            pod_prefix: "runner-".to_owned(),
            max_expiration_seconds: 600,
            refresh_hint_seconds: 1,
        };
        const ID: &str = "b3116611-e08b-4b00-91c5-10365b25a6ef";
        for (pod, is_run) in [
            (format!("runner-{ID}"), true),
            (format!("runner-{ID}-x7k2p"), true),
            (format!("runner-{ID}x"), false),
            (format!("runner-{ID}.x"), false),
            (format!("runner-{}", ID.to_uppercase()), false),
            (format!("other-runner-{ID}"), false),
            (format!("runner-{}", &ID[..35]), false),
            ("runner-00000000-0000-0000-0000-000000000000".to_owned(), false),
            (format!("runner-{}ü", &ID[..35]), false),
            (String::new(), false),
        ] {
            assert_eq!(config.run_of(&pod).is_some(), is_run, "{pod}");
        }
    }
}
