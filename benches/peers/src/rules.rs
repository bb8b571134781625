//! The compared rules as data, and the requests that they decide.

use countersign::{Claims, Run, SubjectFormat, SubjectTemplate, TokenRequest};
use countersign_benches::RUN;
use serde_json::{Map, Value, json};

/// The rules that every engine implements.
#[derive(Debug, Clone)]
pub enum Rules {
    /// A definition may be used by its own workspace alone (`foreign-workspace`): the smallest
    /// rule, which allows or denies.
    OwnWorkspace,
    /// A definition may be used by its own workspace, and by those on a short list for a shorter lifetime
    /// (`foreign-workspace`).
    SameWorkspace(Also),
    /// A definition may be used by these workspaces (`workspace-not-listed`).
    AllowedConsumers(Vec<String>),
    /// Five rules, all of which must admit: the two above; the lifetime is within the behavior's ceiling
    /// (`ttl-above-ceiling`); the audience is among those of the implementation (`audience-not-used`, or
    /// `no-audiences-set` when it has none); the kind of author may trigger the behavior
    /// (`author-not-allowed`, or `author-not-known`).
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
    /// The maximum TTL for them, in seconds.
    pub max_ttl: u32,
}

impl Rules {
    /// The codes that some request must be refused with.
    #[must_use]
    pub fn codes(&self) -> &'static [&'static str] {
        match self {
            Self::OwnWorkspace | Self::SameWorkspace(_) => &["foreign-workspace"],
            Self::AllowedConsumers(_) => &["workspace-not-listed"],
            Self::Five { .. } => &[
                "audience-not-used",
                "author-not-allowed",
                "author-not-known",
                "foreign-workspace",
                "no-audiences-set",
                "ttl-above-ceiling",
                "workspace-not-listed",
            ],
        }
    }

    /// The data of the rules for engines that take it as such: lists as objects whose members are true.
    #[must_use]
    pub fn data(&self) -> Map<String, Value> {
        let data = match self {
            Self::OwnWorkspace => json!({}),
            Self::SameWorkspace(also) => also.data(),
            Self::AllowedConsumers(list) => json!({"workspaces": set(list)}),
            Self::Five { also, workspaces } => {
                let triggers = TRIGGERS.map(|(name, kinds)| (name.to_owned(), set(kinds)));
                let ceilings = CEILINGS.map(|(name, most)| (name.to_owned(), json!(most)));
                let mut data = also.data();
                data["workspaces"] = set(workspaces);
                data["ceilings"] = Value::Object(ceilings.into_iter().collect());
                data["audiences"] = json!({"terraform": set(&AUDIENCES)});
                data["triggers"] = Value::Object(triggers.into_iter().collect());
                data
            }
        };
        data.as_object().expect("an object").clone()
    }

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

    /// Three workspaces, the published run's in their midst.
    #[must_use]
    pub fn three_workspaces() -> Self {
        Self::AllowedConsumers(["team-0", "my-workspace", "team-1"].map(str::to_owned).to_vec())
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

    fn data(&self) -> Value {
        json!({"also": set(&self.workspaces), "also_max_ttl": self.max_ttl})
    }
}

fn set(list: &[impl AsRef<str>]) -> Value {
    list.iter().map(|name| (name.as_ref().to_owned(), Value::Bool(true))).collect()
}

/// Audiences of OpenTofu definitions.
pub const AUDIENCES: [&str; 2] =
    ["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"];

/// The maximum TTL by behavior, in seconds.
pub const CEILINGS: [(&str, u32); 3] = [("apply", 3600), ("detect", 900), ("destroy", 3600)];

/// The behaviors that each kind of author may trigger.
pub const TRIGGERS: [(&str, &[&str]); 3] = [
    ("apply", &["user", "api-key"]),
    ("detect", &["user", "api-key", "api-user", "system"]),
    ("destroy", &["user"]),
];

/// A request: the published run with other facts.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The owning workspace.
    pub owner: &'static str,
    /// The behavior, as a run object has it.
    pub behavior: &'static str,
    /// The kind of author who triggered the run, as a run object has it; `None` if it has none.
    pub author: Option<&'static str>,
    /// The definition's implementation, as a run object has it.
    pub implementation: &'static str,
    /// The audience.
    pub audience: &'static str,
    /// The lifetime in seconds.
    pub ttl_seconds: u32,
}

impl Request {
    /// The timed request, which every rule admits.
    pub const TIMED: Self = Self {
        owner: "my-workspace",
        behavior: "DETECT",
        author: Some("User"),
        implementation: "TERRAFORM",
        audience: AUDIENCES[0],
        ttl_seconds: 900,
    };

    /// Requests of all kinds.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for owner in ["my-workspace", "team-1", "team-9998", "other", "my-workspace-b", "my"] {
            for behavior in ["APPLY", "DETECT", "DESTROY"] {
                for author in [Some("User"), Some("ApiKey"), Some("System"), None] {
                    for implementation in ["TERRAFORM", "MANUAL"] {
                        for audience in [AUDIENCES[0], AUDIENCES[1], "https://example.com"] {
                            for ttl_seconds in [900, 901, 1801, 3600, 3601] {
                                all.push(Self {
                                    owner,
                                    behavior,
                                    author,
                                    implementation,
                                    audience,
                                    ttl_seconds,
                                });
                            }
                        }
                    }
                }
            }
        }
        all
    }

    /// The claims of the request.
    #[must_use]
    pub fn claims(&self) -> Claims {
        let mut run: Value = serde_json::from_str(RUN).expect("JSON");
        let mut set = |pointer: &str, value: Value| {
            *run.pointer_mut(pointer).expect(pointer) = value;
        };
        set("/spec/buildingBlock/spec/workspaceIdentifier", self.owner.into());
        set("/spec/behavior", self.behavior.into());
        set("/spec/buildingBlockDefinition/spec/implementation/type", self.implementation.into());
        let spec = run.pointer_mut("/spec").and_then(Value::as_object_mut).expect("a spec");
        if let Some(author) = self.author {
            let author = json!({"type": author, "identifier": "someone@example.com"});
            spec.insert("trigger".to_owned(), json!({"author": author}));
        }
        let run = Run::parse(run.to_string().as_bytes()).expect("a run");
        let meshstack_id = "demo".parse().expect("a meshStack id");
        let subject = SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id };
        let audiences = vec![self.audience.parse().expect("an audience")];
        let token = TokenRequest::new(audiences, self.ttl_seconds, 1_790_000_000);
        Claims::new(run, None, countersign::Facts::default(), &subject, token.expect("a request"))
            .expect("a subject")
    }
}
