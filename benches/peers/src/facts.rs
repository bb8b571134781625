//! The run record as data, in each engine's own form.

use countersign::{AuthorKind, Behavior, Claims, Implementation};

/// Makes an engine's values.
pub trait Form {
    /// A value.
    type Value;

    fn text(text: &str) -> Self::Value;
    fn number(number: i64) -> Self::Value;
    fn list(items: Vec<Self::Value>) -> Self::Value;
    fn record(members: Vec<(&'static str, Self::Value)>) -> Self::Value;
}

/// The facts of a run.
pub fn run<F: Form>(claims: &Claims) -> F::Value {
    let run = claims.run();
    let block = &run.building_block;
    let parents = block.parents.iter().map(|parent| {
        F::record(vec![
            ("building_block", F::text(parent.building_block.as_str())),
            ("definition", F::text(parent.definition.as_str())),
        ])
    });
    let mut building_block = vec![
        ("id", F::text(block.id.as_str())),
        ("workspace", F::text(block.workspace.as_str())),
        ("parents", F::list(parents.collect())),
    ];
    building_block.extend(block.project.as_ref().map(|text| ("project", F::text(text.as_str()))));
    building_block.extend(block.platform.as_ref().map(|text| ("platform", F::text(text.as_str()))));
    let mut members = vec![
        ("id", F::text(run.id.as_str())),
        ("number", number::<F>(run.number)),
        ("behavior", F::text(behavior(claims))),
        ("building_block", F::record(building_block)),
        (
            "definition",
            F::record(vec![
                ("id", F::text(run.definition.id.as_str())),
                ("workspace", F::text(run.definition.workspace.as_str())),
                ("version", number::<F>(run.definition.version)),
                ("implementation", F::text(implementation(claims))),
            ]),
        ),
    ];
    members.extend(run.trigger.as_ref().map(|trigger| {
        let mut members = vec![
            ("author", F::text(&trigger.author)),
            ("author_kind", F::text(author_kind(trigger.author_kind))),
        ];
        members.extend(trigger.reason.as_ref().map(|text| ("reason", F::text(text))));
        ("trigger", F::record(members))
    }));
    members.extend(claims.runner().map(|runner| ("runner", F::text(runner.as_str()))));
    F::record(members)
}

/// The requested token.
pub fn token<F: Form>(claims: &Claims) -> F::Value {
    let token = claims.token();
    let audiences = token.audiences().iter().map(|audience| F::text(audience.as_str()));
    F::record(vec![
        ("subject", F::text(claims.subject().as_str())),
        ("audiences", F::list(audiences.collect())),
        ("ttl_seconds", F::number(token.ttl_seconds().into())),
        ("issued_at", number::<F>(token.issued_at())),
    ])
}

/// The behavior, in a word.
pub fn behavior(claims: &Claims) -> &'static str {
    match claims.run().behavior {
        Behavior::Apply => "apply",
        Behavior::Detect => "detect",
        Behavior::Destroy => "destroy",
    }
}

/// The implementation, in a word.
pub fn implementation(claims: &Claims) -> &'static str {
    match claims.run().definition.implementation {
        Implementation::Manual => "manual",
        Implementation::Terraform => "terraform",
        Implementation::GithubWorkflow => "github-workflow",
        Implementation::GitlabCicd => "gitlab-cicd",
        Implementation::AzureDevops => "azure-devops",
    }
}

/// A kind of author, in a word.
pub fn author_kind(kind: AuthorKind) -> &'static str {
    match kind {
        AuthorKind::User => "user",
        AuthorKind::ApiKey => "api-key",
        AuthorKind::ApiUser => "api-user",
        AuthorKind::System => "system",
    }
}

fn number<F: Form>(number: u64) -> F::Value {
    F::number(i64::try_from(number).expect("a number of an engine"))
}
