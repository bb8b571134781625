//! Compares the components that hold an engine with that engine as a library of a native program.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use countersign::{
    Audience, AuthorKind, Behavior, Binding, BindingConfig, BindingError, Claims, Engine,
    EngineConfig, Fault, Grant, Implementation, Limits, Mode, Optimization, Policy, PolicySet, Run,
    RunnerId, Scope, Settings, SubjectFormat, SubjectTemplate, TokenRequest, Verdict, imports,
};
use countersign_engines::{EngineName, Places};
use serde_json::{Value, json};

const RUN: &str = include_str!("../../../examples/run.json");
const RULES_REGO: &str = include_str!("engines/rules.rego");
const RULES_CEDAR: &str = include_str!("engines/rules.cedar");
const CEDAR_SCHEMA: &str =
    include_str!("../../../guest-policies/engines/cedar/src/schema.cedarschema");

/// The number of claims that both engines decide on.
const CLAIMS: usize = 100_000;

/// A busy machine must not change a verdict.
const LIMITS: Limits = Limits { wall_clock_ms: 10_000, ..Limits::INTERPRETER };

/// The component of an engine, which `make engines` has built.
fn component(engine: EngineName) -> Vec<u8> {
    let program = std::env::current_exe().unwrap();
    Places::of(Some(&program), None).read(engine).unwrap_or_else(|error| panic!("{error}"))
}

fn prepare(component: &[u8], settings: &Value) -> Result<PolicySet, BindingError> {
    let policy = Policy::load(&Engine::new().unwrap(), component, &LIMITS).unwrap();
    bind(&Arc::new(policy), settings)
}

/// A policy that is compiled once and takes its settings in each evaluation: a snapshot of an engine for each text
/// would take seconds, and answers are the same without.
fn unoptimised(component: &[u8]) -> Arc<Policy> {
    let config = EngineConfig { optimization: Optimization::None, ..EngineConfig::default() };
    Arc::new(Policy::load(&Engine::with(config).unwrap(), component, &LIMITS).unwrap())
}

fn bind(policy: &Arc<Policy>, settings: &Value) -> Result<PolicySet, BindingError> {
    let config = BindingConfig {
        name: "engine".parse().unwrap(),
        settings: Settings::from_json(&settings.to_string()).unwrap(),
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits: LIMITS,
        claims: vec!["team".parse().unwrap()],
    };
    Ok(PolicySet::new(vec![Binding::prepare(Arc::clone(policy), config)?]).unwrap())
}

/// The same choices in the same order, whatever the machine: xorshift64*.
struct Choices(u64);

impl Choices {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % end
    }

    fn of<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        let index = self.below(items.len() as u64);
        &items[usize::try_from(index).unwrap()]
    }

    fn claims(&mut self, base: &Value) -> Claims {
        let mut run = base.clone();
        let owners =
            ["my-workspace", "team-a", "team-b", "other", "my", "my-workspace-b", "abstain-me"];
        let block = &mut run["spec"]["buildingBlock"]["spec"];
        block["workspaceIdentifier"] = json!(self.of(&owners));
        let parents: Vec<Value> = (0..self.below(4))
            .map(|_| {
                json!({
                    "buildingBlockUuid": "68ce5455-2a4a-4a4b-a324-6a6c18cab85a",
                    "definitionUuid": "b23cfb9a-6974-444f-9d33-62134a632373",
                })
            })
            .collect();
        block["parentBuildingBlocks"] = json!(parents);
        run["spec"]["runNumber"] = json!(self.below(20_000_000));
        run["spec"]["behavior"] = json!(self.of(&["APPLY", "DETECT", "DESTROY"]));
        run["spec"]["trigger"] = match self.of(&["User", "ApiKey", "ApiUser", "System", "", ""]) {
            &"" => Value::Null,
            kind => json!({
                "author": {"type": kind, "identifier": self.of(&["a \"b\"", "ä@example.com"])},
                "reason": self.of(&[Value::Null, json!("a change \\ of plan")]),
            }),
        };
        let implementation = self.of(&["TERRAFORM", "MANUAL", "GITHUB_WORKFLOW"]);
        run["spec"]["buildingBlockDefinition"]["spec"]["implementation"]["type"] =
            json!(implementation);
        let audiences = [
            "aws-workload-identity-provider:demo",
            "api://AzureADTokenExchange",
            "https://example.com",
        ];
        let first = self.of(&audiences);
        let mut asked = vec![Audience::parse(first).unwrap()];
        let second = self.of(&audiences);
        if second != first {
            asked.push(Audience::parse(second).unwrap());
        }
        let run = Run::parse(run.to_string().as_bytes()).unwrap();
        let ttl = *self.of(&[60, 599, 600, 900, 901, 1800, 1801, 3600, 3601, 86_400]);
        let token = TokenRequest::new(asked, ttl, 1_790_000_000 + self.below(1 << 30)).unwrap();
        let meshstack_id = "demo".parse().unwrap();
        let subject = SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id };
        let runner = self.of(&[None, Some("98520496-627d-43e6-82da-ce499179ff3f")]);
        let runner = runner.map(|id| RunnerId::parse(id).unwrap());
        Claims::new(run, runner, countersign::Facts::default(), &subject, token).unwrap()
    }
}

/// The claims as the contract has them, with underscores: written here once more.
fn as_json(claims: &Claims) -> Value {
    let (run, token) = (claims.run(), claims.token());
    let block = &run.building_block;
    let mut json = json!({
        "id": run.id.as_str(),
        "number": run.number,
        "behavior": match run.behavior {
            Behavior::Apply => "apply",
            Behavior::Detect => "detect",
            Behavior::Destroy => "destroy",
        },
        "building_block": {
            "id": block.id.as_str(),
            "workspace": block.workspace.as_str(),
            "parents": block.parents.iter().map(|parent| json!({
                "building_block": parent.building_block.as_str(),
                "definition": parent.definition.as_str(),
            })).collect::<Vec<_>>(),
        },
        "definition": {
            "id": run.definition.id.as_str(),
            "workspace": run.definition.workspace.as_str(),
            "version": run.definition.version,
            "implementation": match run.definition.implementation {
                Implementation::Terraform => "terraform",
                Implementation::Manual => "manual",
                Implementation::GithubWorkflow => "github-workflow",
                other => panic!("{other:?}"),
            },
        },
        "facts": {},
    });
    if let Some(runner) = claims.runner() {
        json["runner"] = json!(runner.as_str());
    }
    if let Some(project) = &block.project {
        json["building_block"]["project"] = json!(project.as_str());
    }
    if let Some(platform) = &block.platform {
        json["building_block"]["platform"] = json!(platform.as_str());
    }
    if let Some(trigger) = &run.trigger {
        json["trigger"] = json!({
            "author": trigger.author,
            "author_kind": match trigger.author_kind {
                AuthorKind::User => "user",
                AuthorKind::ApiKey => "api-key",
                AuthorKind::ApiUser => "api-user",
                AuthorKind::System => "system",
            },
        });
        if let Some(reason) = &trigger.reason {
            json["trigger"]["reason"] = json!(reason);
        }
    }
    json!({
        "run": json,
        "token": {
            "subject": claims.subject().as_str(),
            "audiences": token.audiences().iter().map(|a| a.as_str()).collect::<Vec<_>>(),
            "ttl_seconds": token.ttl_seconds(),
            "issued_at": token.issued_at(),
        },
    })
}

/// A verdict in the form that the native engines write.
fn answer(result: &Result<Verdict, Fault>, token: &TokenRequest) -> Value {
    match result {
        Ok(verdict @ (Verdict::Permit(grant) | Verdict::Restrict(grant))) => {
            let permits = matches!(verdict, Verdict::Permit(_));
            let asked: Vec<_> = token.audiences().to_vec();
            let mut kept: Vec<_> = grant.audiences.clone().unwrap_or(asked);
            kept.sort();
            let claims: serde_json::Map<_, _> = grant
                .claims
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), json!(value)))
                .collect();
            json!({
                "verdict": if permits { "permit" } else { "restrict" },
                "seconds": grant.max_ttl.unwrap_or(token.ttl_seconds()),
                "audiences": kept.iter().map(|audience| audience.as_str()).collect::<Vec<_>>(),
                "claims": claims,
            })
        }
        Ok(Verdict::Deny(reasons)) => {
            let mut codes: Vec<_> = reasons.iter().map(|reason| reason.code.to_string()).collect();
            codes.sort_unstable();
            json!(codes)
        }
        Ok(Verdict::Abstain) => json!("abstain"),
        Err(Fault::Panic { .. }) => json!("fault"),
        // No fault of the engine's.
        Err(other) => json!(other.code()),
    }
}

/// Runs cargo on the engines' own workspace, whose packages are not of this one, and gives the target folder, which is
/// that of `make lint-engines`: they share what the build tools of the engines depend on.
fn cargo(arguments: &[&str]) -> PathBuf {
    let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-policies/engines");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engines");
    let cargo = Command::new(env!("CARGO"))
        .current_dir(&engines)
        .env_remove("RUSTFLAGS")
        .args(arguments)
        .args(["--locked", "--workspace", "--target-dir"])
        .arg(&target)
        .status();
    assert!(cargo.unwrap().success(), "cargo {arguments:?}");
    target
}

/// The program that has the engines as libraries.
fn native() -> Command {
    Command::new(cargo(&["build"]).join("debug/native-engines"))
}

/// Among them that the schemas in their folders are those of their settings.
#[test]
#[ignore = "compiles the engines as libraries, which takes minutes: `make languages`"]
fn they_pass_their_own_tests() {
    cargo(&["test"]);
}

/// Asks both the same, and compares each answer. Returns the number of permits, restrictions, denials, abstentions and
/// faults.
fn compare(kind: &str, component: &[u8], settings: &Value) -> [usize; 5] {
    let set = prepare(component, settings).unwrap();
    let mut child =
        native().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was built");
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let first = json!({ kind: settings });
    let base: Value = serde_json::from_str(RUN).unwrap();
    let asking = thread::spawn({
        let base = base.clone();
        move || {
            let (mut out, mut choices) = (BufWriter::new(stdin), Choices(7));
            writeln!(out, "{first}").unwrap();
            for _ in 0..CLAIMS {
                writeln!(out, "{}", as_json(&choices.claims(&base))).unwrap();
            }
            out.flush().unwrap();
        }
    });
    let (mut choices, mut lines) = (Choices(7), BufReader::new(stdout).lines());
    let mut met = [0; 5];
    for number in 0..CLAIMS {
        let claims = choices.claims(&base);
        let (token, asked) = (claims.token().clone(), as_json(&claims));
        let decision = set.evaluate(claims);
        let found = answer(&decision.trace()[0].result, &token);
        let native: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(found, native, "claims {number}: {asked}\n{:?}", decision.trace()[0].result);
        met[match found {
            Value::Object(grant) if grant["verdict"] == "permit" => 0,
            Value::Object(_) => 1,
            Value::Array(_) => 2,
            Value::String(word) if word == "abstain" => 3,
            _ => 4,
        }] += 1;
    }
    asking.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(lines.next().is_none());
    met
}

fn rego() -> Value {
    json!({
        "policy": RULES_REGO,
        "data": {
            "also": {"team-a": true, "team-b": true},
            "also_max_ttl": 900,
            "ceilings": {"apply": 3600, "destroy": 1800},
            "triggers": {"destroy": {"user": true}, "apply": {"user": true, "api-key": true}},
        },
    })
}

fn cedar() -> Value {
    let member = |name: &str| {
        json!({
            "uid": {"type": "Workspace", "id": name},
            "attrs": {},
            "parents": [{"type": "Group", "id": "also"}],
        })
    };
    json!({"policies": RULES_CEDAR, "entities": [member("team-a"), member("team-b")]})
}

#[test]
#[ignore = "compiles the engines as libraries, which takes minutes: `make languages`"]
fn rego_answers_as_regorus_does() {
    let met = compare("rego", &component(EngineName::Rego), &rego());
    // Every kind of answer was met, and often.
    assert!(met.iter().all(|count| *count > 500), "{met:?}");
}

#[test]
#[ignore = "compiles the engines as libraries, which takes minutes: `make languages`"]
fn cedar_answers_as_cedar_policy_does() {
    let met = compare("cedar", &component(EngineName::Cedar), &cedar());
    let [permits, restrictions, denials, abstentions, faults] = met;
    assert!([permits, restrictions, denials, faults].iter().all(|count| *count > 500), "{met:?}");
    // Cedar denies where no policy applies.
    assert_eq!(abstentions, 0);
}

#[test]
fn they_import_nothing_and_say_what_they_are() {
    for engine in EngineName::ALL {
        let (component, name) = (component(engine), engine.as_str());
        assert_eq!(imports(&component), Ok(vec![]));
        // What it is does not depend on where it was built.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        for place in [root.to_str().unwrap(), "/registry/src/"] {
            assert!(
                !component.windows(place.len()).any(|bytes| bytes == place.as_bytes()),
                "{name}: {place}"
            );
        }
        let policy = Policy::load(&Engine::new().unwrap(), &component, &LIMITS).unwrap();
        assert_eq!(policy.description().name, name);
        let schema: Value =
            serde_json::from_str(policy.description().settings_schema.as_deref().unwrap()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        // What `configure` left is what an evaluation begins with.
        let settings = if name == "rego" { rego() } else { cedar() };
        let set = bind(&Arc::new(policy), &settings).unwrap();
        let binding = &set.bindings()[0];
        assert_eq!(binding.prepared().unwrap().no_snapshot, None, "{name}");
    }
}

#[test]
fn what_is_wrong_with_a_text_is_said_with_its_place() {
    let [cedar, rego] = EngineName::ALL.map(|engine| {
        let component = component(engine);
        Arc::new(Policy::load(&Engine::new().unwrap(), &component, &LIMITS).unwrap())
    });
    let forbid = |annotations: &str| format!("{annotations} forbid(principal, action, resource);");
    for (policy, settings, says) in [
        (&rego, json!({"policy": "package countersign\npermit if {"}), "/policy: "),
        (&rego, json!({"policy": "package countersign\npermit if {"}), "policy.rego:2"),
        (
            &rego,
            json!({"policy": "package other\npermit := true"}),
            "/policy: expected package `countersign`, found `other`",
        ),
        (
            &rego,
            json!({"policy": "package countersign\nallow := true"}),
            "/policy: expected at least one of the rules `permit`, `restrict` and `deny`",
        ),
        (
            &rego,
            json!({"policy": "package countersign\npermit := true", "data": 7}),
            "/data: expected an object",
        ),
        (&rego, json!({}), "/policy: missing"),
        (&cedar, json!({"policies": "permit(principal"}), "/policies: "),
        (&cedar, json!({"policies": ""}), "/policies: expected at least one policy"),
        (
            &cedar,
            json!({"policies": "permit(principal, action, resource) when { context.run.behaviour == \"x\" };"}),
            "behaviour",
        ),
        (
            &cedar,
            json!({"policies": "permit(principal == ?principal, action, resource);"}),
            "is a template; nothing links it",
        ),
        (
            &cedar,
            json!({"policies": forbid("@max_ttl(\"900\")")}),
            "@max_ttl is for a policy that permits",
        ),
        (
            &cedar,
            json!({"policies": forbid("@cod(\"x\")")}),
            "@cod is not known, expected one of @id, @code",
        ),
        (
            &cedar,
            json!({"policies": "@max_ttl(\"0\") permit(principal, action, resource);"}),
            "@max_ttl: expected seconds, found `0`",
        ),
        (&cedar, json!({"policies": forbid(""), "schema": "entity"}), "/schema: "),
        (&cedar, json!({"policies": forbid(""), "schema": "entity Workspace;"}), "/policies: "),
        (
            &cedar,
            // No `destroy`, and no `trigger`.
            json!({"policies": forbid(""), "schema": CEDAR_SCHEMA.replace("apply, detect, destroy", "apply, detect")}),
            "/schema: ",
        ),
        (
            &cedar,
            json!({"policies": forbid(""), "schema": CEDAR_SCHEMA.replace("runner?: String,", "")}),
            "/schema: ",
        ),
        (
            &cedar,
            json!({"policies": "forbid(principal, action, resource) when { context.run has triger };"}),
            "/policies: ",
        ),
        (&cedar, json!({"policies": forbid("@code(\"Not Listed\")")}), "found `Not Listed`"),
        (&cedar, json!({"policies": forbid("@message(\"\")")}), "@message is empty"),
        (
            &rego,
            json!({"policy": "package countersign\npermit := true", "data": {"countersign": {"deny": []}}}),
            "/data/countersign: the name of the policy's package",
        ),
        (
            &rego,
            json!({"policy": "package countersign\npermit := true\ndeny(x) := {\"code\": x} if x"}),
            "/policy: `deny` is a function",
        ),
        (
            &rego,
            json!({"policy": "package countersign\npermit.max_ttl := 300"}),
            "/policy: the rule `permit.max_ttl`: expected `permit` as a whole",
        ),
        (
            &cedar,
            json!({"policies": forbid(""), "entities": [{"uid": {"type": "Team", "id": "a"}, "attrs": {}, "parents": []}]}),
            "/entities: ",
        ),
        (
            &cedar,
            json!({"policies": forbid(""), "default-verdict": "permit"}),
            "/default-verdict: expected one of `deny`, `restrict`, `abstain`",
        ),
        (
            &cedar,
            json!({"policies": forbid(""), "otherwise": "abstain"}),
            "/otherwise: unknown key, expected one of `policies`, `schema`, `entities`, `default-verdict`",
        ),
        (
            &cedar,
            json!({"policies": forbid("@restrict")}),
            "@restrict is for a policy that permits",
        ),
        (
            &cedar,
            json!({"policies": "@restrict(\"no\") permit(principal, action, resource);"}),
            "@restrict takes no value, found `no`",
        ),
        (
            &rego,
            json!({"policy": "package countersign\nrestrict(x) := {\"max_ttl\": x} if x"}),
            "/policy: `restrict` is a function",
        ),
        (
            &rego,
            json!({"policy": "package countersign\nrestrict.max_ttl := 300"}),
            "/policy: the rule `restrict.max_ttl`: expected `restrict` as a whole",
        ),
    ] {
        match bind(policy, &settings).unwrap_err() {
            error @ BindingError::Settings { .. } => {
                let text = error.to_string();
                assert!(text.contains(says), "{settings}: expected {says}, found {text}");
            }
            other => panic!("{settings}: {other}"),
        }
    }
}

/// A rule of another shape says nothing that could be trusted.
#[test]
fn a_rule_of_another_shape_is_a_fault() {
    let policy = unoptimised(&component(EngineName::Rego));
    let base: Value = serde_json::from_str(RUN).unwrap();
    for (rule, says) in [
        ("permit := 7", "permit: expected true or an object, found 7"),
        ("permit := {\"max-ttl\": 9}", "permit: expected `max_ttl`, `audiences` and `claims`"),
        ("permit := {\"max_ttl\": \"9\"}", "permit.max_ttl: expected seconds, found \"9\""),
        ("permit := {\"max_ttl\": 0}", "permit.max_ttl: expected seconds, found 0"),
        ("permit := {\"audiences\": \"a\"}", "permit.audiences: expected strings"),
        ("permit := {\"claims\": {\"team\": 1}}", "permit.claims: expected an object of strings"),
        ("restrict := 7", "restrict: expected true or an object, found 7"),
        ("restrict := {\"max-ttl\": 9}", "restrict: expected `max_ttl`, `audiences` and `claims`"),
        ("restrict := {\"max_ttl\": 0}", "restrict.max_ttl: expected seconds, found 0"),
        ("restrict := {\"audiences\": [7]}", "restrict.audiences: expected strings"),
        ("restrict := {\"claims\": []}", "restrict.claims: expected an object of strings"),
        ("permit := true\nrestrict := true", "`permit` and `restrict` both have a value"),
        (
            "permit := true\nrestrict := {\"max_ttl\": 9}\ndeny contains {\"code\": \"a\", \"message\": \"b\"}",
            "`permit` and `restrict` both have a value",
        ),
        ("deny := true", "deny: expected a set of reasons, found true"),
        (
            "deny contains \"no\"",
            "deny: expected {\"code\": text, \"message\": text}, found \"no\"",
        ),
        ("deny contains {\"code\": \"a\"}", "deny: expected {\"code\": text"),
        // A denial beside a permit that is wrong is wrong.
        (
            "permit := 7\ndeny contains {\"code\": \"a\", \"message\": \"b\"}",
            "permit: expected true",
        ),
        ("permit if to_number(\"x\") == 1", "policy.rego:2:22: could not parse string as number"),
    ] {
        let set =
            bind(&policy, &json!({"policy": format!("package countersign\n{rule}")})).unwrap();
        let decision = set.evaluate(Choices(1).claims(&base));
        match &decision.trace()[0].result {
            Err(Fault::Panic { message }) => assert!(message.contains(says), "{rule}: {message}"),
            other => panic!("{rule}: {other:?}"),
        }
        assert!(decision.into_approval().is_err(), "{rule}");
    }
}

/// Evaluates one policy alone, on the published run with a lifetime of an hour.
#[track_caller]
fn decide(policy: &Arc<Policy>, settings: &Value) -> (Result<Verdict, Fault>, bool) {
    let set = bind(policy, settings).unwrap();
    let audience = Audience::parse("aws-workload-identity-provider:demo").unwrap();
    let token = TokenRequest::new(vec![audience], 3600, 1_790_000_000).unwrap();
    let subject = SubjectTemplate {
        profile: SubjectFormat::ByDefinition,
        meshstack_id: "demo".parse().unwrap(),
    };
    let run = Run::parse(RUN.as_bytes()).unwrap();
    let decision = set
        .evaluate(Claims::new(run, None, countersign::Facts::default(), &subject, token).unwrap());
    let result = decision.trace()[0].result.clone();
    (result, decision.into_approval().is_ok())
}

#[test]
fn a_restriction_narrows_and_never_permits() {
    let any = "permit(principal, action, resource);";
    let (in_rego, in_cedar) =
        (unoptimised(&component(EngineName::Rego)), unoptimised(&component(EngineName::Cedar)));
    let rego = |rules: &str| (&in_rego, json!({"policy": format!("package countersign\n{rules}")}));
    let cedar = |policies: String| (&in_cedar, json!({"policies": policies}));
    for ((policy, settings), verdict, max_ttl) in [
        (rego("restrict := true"), "restrict", None),
        (rego("restrict := {\"max_ttl\": 900}"), "restrict", Some(900)),
        // `false` is no answer, as an undefined rule is none.
        (rego("permit := false\nrestrict := {\"max_ttl\": 900}"), "restrict", Some(900)),
        (rego("permit := {\"max_ttl\": 900}\nrestrict := false"), "permit", Some(900)),
        (cedar(format!("@restrict {any}")), "restrict", None),
        (cedar(format!("@restrict(\"\") @max_ttl(\"900\") {any}")), "restrict", Some(900)),
        // A permit beside it permits, within both.
        (cedar(format!("@restrict @max_ttl(\"900\") {any} {any}")), "permit", Some(900)),
        (cedar(format!("@restrict {any} @max_ttl(\"600\") {any}")), "permit", Some(600)),
        (
            cedar(format!("@restrict @max_ttl(\"900\") {any} @restrict @max_ttl(\"600\") {any}")),
            "restrict",
            Some(600),
        ),
    ] {
        let (result, approved) = decide(policy, &settings);
        let found = match &result {
            Ok(Verdict::Permit(grant)) => ("permit", grant.max_ttl),
            Ok(Verdict::Restrict(grant)) => ("restrict", grant.max_ttl),
            other => panic!("{settings}: {other:?}"),
        };
        assert_eq!(found, (verdict, max_ttl), "{settings}");
        assert_eq!(approved, verdict == "permit", "{settings}");
    }
}

/// Whatever the default, a run that no Cedar policy applies to gets no token from it.
#[test]
fn the_default_verdict_of_cedar_never_permits() {
    let policies = "forbid(principal, action == Action::\"destroy\", resource);";
    let cedar = unoptimised(&component(EngineName::Cedar));
    for default in ["deny", "restrict", "abstain"] {
        let settings = json!({"policies": policies, "default-verdict": default});
        let (result, approved) = decide(&cedar, &settings);
        let found = match &result {
            Ok(Verdict::Deny(reasons)) if reasons[0].code == "no-policy-permits" => "deny",
            Ok(Verdict::Restrict(grant)) if *grant == Grant::default() => "restrict",
            Ok(Verdict::Abstain) => "abstain",
            other => panic!("{default}: {other:?}"),
        };
        assert_eq!(found, default);
        assert!(!approved, "{default}");
    }
}
