//! The rules that are compared, as data, and requests that they are tried on.

use countersign::{Claims, Run, SubjectForm, SubjectProfile, TokenRequest};
use countersign_benches::RUN;

/// What is asked of every engine.
#[derive(Debug, Clone)]
pub enum Rules {
    /// A definition may be used by its own workspace alone (`foreign-workspace`): the least that can be
    /// asked, whose answer is yes or no.
    OwnWorkspace,
    /// A definition may be used by its own workspace, and by those on a short list for a shorter life
    /// (`foreign-workspace`).
    SameWorkspace(Also),
    /// A definition may be used by these workspaces (`workspace-not-listed`).
    AllowedConsumers(Vec<String>),
    /// Five rules, all of which must admit: the two above; the life is within the behavior's ceiling
    /// (`ttl-above-ceiling`); an audience is among those of the implementation (`audience-not-used`); the
    /// kind of author may trigger the behavior (`author-not-allowed`).
    Five {
        /// Of the first rule.
        also: Also,
        /// Of the second rule.
        workspaces: Vec<String>,
    },
}

/// Workspaces beside the definition's own.
#[derive(Debug, Clone)]
pub struct Also {
    /// The workspaces.
    pub workspaces: Vec<String>,
    /// The longest life for them, in seconds.
    pub max_ttl: u32,
}

impl Rules {
    /// A definition's own workspace, and two others.
    #[must_use]
    pub fn same_workspace() -> Self {
        Self::SameWorkspace(Also::two())
    }

    /// Five rules of a platform team.
    #[must_use]
    pub fn five() -> Self {
        let mut workspaces: Vec<_> = (0..20).map(|n| format!("team-{n}")).collect();
        workspaces.push("my-workspace".to_owned());
        Self::Five { also: Also::two(), workspaces }
    }

    /// Ten thousand workspaces, the published run's in their midst.
    #[must_use]
    pub fn ten_thousand() -> Self {
        let mut list: Vec<_> = (0..9_999).map(|n| format!("team-{n}")).collect();
        list.insert(5_000, "my-workspace".to_owned());
        Self::AllowedConsumers(list)
    }
}

impl Also {
    fn two() -> Self {
        let workspaces = vec!["team-1".to_owned(), "team-2".to_owned()];
        Self { workspaces, max_ttl: 1800 }
    }
}

/// Audiences of OpenTofu definitions.
pub const AUDIENCES: [&str; 2] =
    ["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"];

/// The longest lives by behavior, in seconds.
pub const CEILINGS: [(&str, u32); 3] = [("apply", 3600), ("detect", 900), ("destroy", 3600)];

/// Who may trigger what.
pub const TRIGGERS: [(&str, &[&str]); 3] = [
    ("apply", &["user", "api-key"]),
    ("detect", &["user", "api-key", "api-user", "system"]),
    ("destroy", &["user"]),
];

/// The published run with another owning workspace and behavior, asking for this audience and life.
#[must_use]
pub fn claims_of(owner: &str, behavior: &str, audience: &str, ttl_seconds: u32) -> Claims {
    let author = serde_json::json!({"type": "User", "identifier": "someone@example.com"});
    let trigger = serde_json::json!({"author": author});
    let mut run: serde_json::Value = serde_json::from_str(RUN).expect("JSON");
    *run.pointer_mut("/spec/buildingBlock/spec/workspaceIdentifier").expect("the owner") =
        owner.into();
    *run.pointer_mut("/spec/behavior").expect("the behavior") = behavior.into();
    let spec = run.pointer_mut("/spec").and_then(|spec| spec.as_object_mut()).expect("a spec");
    spec.insert("trigger".to_owned(), trigger);
    let run = Run::parse(run.to_string().as_bytes()).expect("a run");
    let meshstack_id = "demo".parse().expect("a meshStack id");
    let subject = SubjectForm { profile: SubjectProfile::ByDefinition, meshstack_id };
    let audiences = vec![audience.parse().expect("an audience")];
    let token = TokenRequest::new(audiences, ttl_seconds, 1_790_000_000).expect("a request");
    Claims::new(run, None, &subject, token).expect("a subject")
}
