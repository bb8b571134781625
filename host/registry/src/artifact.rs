//! The artifact that a policy travels in.
//!
//! A component has the layout of CNCF's TAG Runtime ("Wasm OCI Artifact layout"): a configuration of the type
//! [`WASM_CONFIG_TYPE`] and one layer of the type [`WASM_TYPE`]. A policy that is text has its settings for a layer and names
//! the engine that takes them, which is an artifact of its own, published once.

use std::collections::BTreeMap;

use countersign::Digest;
use serde::Serialize;

use crate::oci::{Descriptor, EMPTY, EMPTY_TYPE, ImageManifest, MANIFEST_TYPE, shown};
use crate::reference::PinnedReference;

/// The media type of the configuration of a component.
pub const WASM_CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";

/// The media type of a component.
pub const WASM_TYPE: &str = "application/wasm";

/// The type of the artifact of a policy that is text.
pub const TEXT_POLICY_TYPE: &str = "application/vnd.countersign.text-policy.v1";

/// The media type of a text policy's layer: the settings that its engine takes.
pub const SETTINGS_TYPE: &str = "application/vnd.countersign.settings.v1+json";

/// The type of an artifact with the settings schema of a policy, which refers to it.
pub const SCHEMA_ARTIFACT_TYPE: &str = "application/vnd.countersign.settings-schema.v1+json";

/// The type of an artifact with the test cases of a policy, which refers to it.
pub const CASES_ARTIFACT_TYPE: &str = "application/vnd.countersign.cases.v1+toml";

/// The type of an artifact with the run object that the cases of a policy start from.
pub const RUN_ARTIFACT_TYPE: &str = "application/vnd.countersign.run.v1+json";

/// The maximum length of a configuration, a schema, a run or a file of cases, in bytes.
pub const MAX_SIDE_BYTES: u64 = 4 << 20;

/// The maximum length of the settings of a text policy, in bytes.
pub const MAX_SETTINGS_LAYER_BYTES: u64 = countersign::MAX_SETTINGS_BYTES as u64;

/// The version of the contract: the world of wit/policy.wit.
pub const CONTRACT: &str = "countersign:policy/token-policy@1.0.0";

/// The interface that every policy exports, and the only one.
const EXPORT: &str = "countersign:policy/policy@1.0.0";

pub(crate) const REVISION_KEY: &str = "io.countersign.revision";
pub(crate) const CONTRACT_KEY: &str = "io.countersign.contract";
const ENGINE_KEY: &str = "io.countersign.engine";
const ENGINE_COMPONENT_KEY: &str = "io.countersign.engine.component";
const OWN_SETTINGS_KEY: &str = "io.countersign.own-settings";
const SCHEMA_KEY: &str = "io.countersign.settings-schema";
const CASES_KEY: &str = "io.countersign.cases";
const RUN_KEY: &str = "io.countersign.run";
const NAME_KEY: &str = "org.opencontainers.image.title";
const VERSION_KEY: &str = "org.opencontainers.image.version";
const SUMMARY_KEY: &str = "org.opencontainers.image.description";

/// The time of creation where none is given: artifacts are the same for the same policy.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// A policy that is to be published.
#[derive(Debug, Clone)]
pub struct NewPolicy {
    /// The component, or the text with its engine.
    pub content: NewContent,
    /// The policy's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// A sentence on its decisions.
    pub summary: String,
    /// The number that orders the versions of a repository: an older one does not come back. Signed with the manifest.
    pub revision: u64,
    /// JSON Schema of its settings.
    pub settings_schema: Option<Vec<u8>>,
    /// Its test cases, `cases.toml`.
    pub cases: Option<Vec<u8>>,
    /// The run object that its cases start from, `run.json`.
    pub run: Option<Vec<u8>>,
    /// The time of creation, in RFC 3339; 1970 where none is given.
    pub created: Option<String>,
    /// The author.
    pub author: Option<String>,
}

/// The content of a policy that is to be published.
#[derive(Debug, Clone)]
pub enum NewContent {
    /// A component.
    Component(Vec<u8>),
    /// A text for an engine.
    Text {
        /// The engine's settings.
        settings: Vec<u8>,
        /// The engine's artifact.
        engine: PinnedReference,
        /// The digest of the engine's component.
        component: Digest,
        /// The key of the settings that a binding may give, for engines that have one.
        own_settings: Option<String>,
    },
}

/// A manifest with its blobs, as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// The blobs that it names.
    pub blobs: Vec<Vec<u8>>,
}

impl Artifact {
    /// The digest of the manifest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// The manifest's descriptor.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(MANIFEST_TYPE, &self.manifest)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig<'c> {
    created: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<&'c str>,
    architecture: &'c str,
    os: &'c str,
    layer_digests: [String; 1],
    component: WasmComponent<'c>,
}

#[derive(Serialize)]
struct WasmComponent<'c> {
    exports: [&'c str; 1],
    imports: [&'c str; 0],
}

impl NewPolicy {
    /// Makes the artifact, and those that refer to it: the settings schema and the cases. The same policy gives the same
    /// bytes.
    pub fn artifacts(&self) -> (Artifact, Vec<Artifact>) {
        let mut annotations = BTreeMap::from([
            (NAME_KEY.to_owned(), self.name.clone()),
            (VERSION_KEY.to_owned(), self.version.clone()),
            (SUMMARY_KEY.to_owned(), self.summary.clone()),
            (CONTRACT_KEY.to_owned(), CONTRACT.to_owned()),
            (REVISION_KEY.to_owned(), self.revision.to_string()),
        ]);
        // By the digests of their content: a referrer's own digest cannot stand in what it refers to.
        for (key, _, side) in self.sides() {
            if let Some(bytes) = side {
                annotations.insert(key.to_owned(), Digest::of(bytes).to_string());
            }
        }
        let artifact = match &self.content {
            NewContent::Component(component) => self.of_component(component, annotations),
            NewContent::Text { settings, engine, component, own_settings } => {
                annotations.insert(ENGINE_KEY.to_owned(), engine.to_string());
                annotations.insert(ENGINE_COMPONENT_KEY.to_owned(), component.to_string());
                if let Some(key) = own_settings {
                    annotations.insert(OWN_SETTINGS_KEY.to_owned(), key.clone());
                }
                of_text(settings, annotations)
            }
        };
        let sides = self.sides().into_iter().filter_map(|(_, kind, bytes)| {
            let bytes = bytes.as_ref()?;
            Some(referrer(&artifact.descriptor(), kind, kind, bytes, BTreeMap::new()))
        });
        let sides = sides.collect();
        (artifact, sides)
    }

    /// Everything that is published beside the policy: the annotation with its digest, the type of its artifact, and it.
    fn sides(&self) -> [(&'static str, &'static str, &Option<Vec<u8>>); 3] {
        [
            (SCHEMA_KEY, SCHEMA_ARTIFACT_TYPE, &self.settings_schema),
            (CASES_KEY, CASES_ARTIFACT_TYPE, &self.cases),
            (RUN_KEY, RUN_ARTIFACT_TYPE, &self.run),
        ]
    }

    fn of_component(&self, component: &[u8], annotations: BTreeMap<String, String>) -> Artifact {
        let config = WasmConfig {
            created: self.created.as_deref().unwrap_or(EPOCH),
            author: self.author.as_deref(),
            architecture: "wasm",
            os: "wasip2",
            layer_digests: [Digest::of(component).to_string()],
            component: WasmComponent { exports: [EXPORT], imports: [] },
        };
        let config = serde_json::to_vec(&config).unwrap_or_default();
        let mut layer = Descriptor::of(WASM_TYPE, component);
        layer.annotations.insert(NAME_KEY.to_owned(), format!("{}.wasm", self.name));
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            artifact_type: None,
            config: Descriptor::of(WASM_CONFIG_TYPE, &config),
            layers: vec![layer],
            subject: None,
            annotations,
        };
        Artifact { manifest: manifest.to_bytes(), blobs: vec![config, component.to_vec()] }
    }
}

fn of_text(settings: &[u8], annotations: BTreeMap<String, String>) -> Artifact {
    let mut layer = Descriptor::of(SETTINGS_TYPE, settings);
    layer.annotations.insert(NAME_KEY.to_owned(), "settings.json".to_owned());
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        artifact_type: Some(TEXT_POLICY_TYPE.to_owned()),
        config: Descriptor::of(EMPTY_TYPE, EMPTY),
        layers: vec![layer],
        subject: None,
        annotations,
    };
    Artifact { manifest: manifest.to_bytes(), blobs: vec![EMPTY.to_vec(), settings.to_vec()] }
}

/// An artifact of one blob that refers to another manifest.
pub(crate) fn referrer(
    subject: &Descriptor,
    artifact_type: &str,
    layer_type: &str,
    bytes: &[u8],
    annotations: BTreeMap<String, String>,
) -> Artifact {
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        artifact_type: Some(artifact_type.to_owned()),
        config: Descriptor::of(EMPTY_TYPE, EMPTY),
        layers: vec![Descriptor::of(layer_type, bytes)],
        subject: Some(subject.clone()),
        annotations,
    };
    Artifact { manifest: manifest.to_bytes(), blobs: vec![EMPTY.to_vec(), bytes.to_vec()] }
}

/// The parts of a policy, as its manifest names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyManifest {
    /// The layer: the component, or the settings of a text policy.
    pub layer: Descriptor,
    /// The configuration.
    pub config: Descriptor,
    /// The engine, for a text policy.
    pub engine: Option<EngineOfText>,
    /// The number that orders the versions of a repository; 0 where there is none.
    pub revision: u64,
    /// The policy's name, where it is given.
    pub name: Option<String>,
    /// Its version, where it is given.
    pub version: Option<String>,
    /// A sentence on its decisions, where it is given.
    pub summary: Option<String>,
    /// The version of the contract, where it is given.
    pub contract: Option<String>,
    /// The digest of the settings schema, where there is one.
    pub settings_schema: Option<Digest>,
    /// The digest of the cases, where there are some.
    pub cases: Option<Digest>,
    /// The digest of the run object that they start from, where it is their own.
    pub run: Option<Digest>,
}

/// The engine of a text policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOfText {
    /// Its artifact.
    pub reference: PinnedReference,
    /// The digest of its component.
    pub component: Digest,
    /// The key of the settings that a binding may give.
    pub own_settings: Option<String>,
}

/// The reason that a manifest is no policy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFormError {
    /// The artifact is of another kind.
    #[error(
        "the configuration is of the type `{found}`, expected `{WASM_CONFIG_TYPE}`, or the artifact type `{TEXT_POLICY_TYPE}`"
    )]
    Kind {
        /// The type that was found.
        found: String,
    },
    /// There is not exactly one layer.
    #[error("{found} layers, expected one")]
    Layers {
        /// Their number.
        found: usize,
    },
    /// The layer is of another type.
    #[error("the layer is of the type `{found}`, expected `{expected}`")]
    LayerType {
        /// The type that was found.
        found: String,
        /// The type that was expected.
        expected: &'static str,
    },
    /// An annotation has a value that it cannot have.
    #[error("the annotation `{key}` is malformed")]
    Annotation {
        /// The annotation.
        key: &'static str,
    },
    /// The policy is of another contract.
    #[error("the contract is `{found}`, expected `{CONTRACT}`")]
    Contract {
        /// The contract that was found.
        found: String,
    },
}

impl PolicyManifest {
    /// The digests of what is published with the policy: its settings schema, its cases, and the run that they start from.
    pub(crate) fn sides(&self) -> impl Iterator<Item = Digest> {
        [self.cases, self.settings_schema, self.run].into_iter().flatten()
    }

    /// Reads a policy's manifest.
    ///
    /// # Errors
    /// When it is of another kind, has not exactly one layer, or an annotation is malformed.
    pub fn of(manifest: &ImageManifest) -> Result<Self, PolicyFormError> {
        let is_text = manifest.artifact_type.as_deref() == Some(TEXT_POLICY_TYPE);
        let config_type = manifest.config.media_type.as_str();
        if config_type != if is_text { EMPTY_TYPE } else { WASM_CONFIG_TYPE } {
            return Err(PolicyFormError::Kind { found: shown(config_type) });
        }
        let [layer] = manifest.layers.as_slice() else {
            return Err(PolicyFormError::Layers { found: manifest.layers.len() });
        };
        let expected = if is_text { SETTINGS_TYPE } else { WASM_TYPE };
        if layer.media_type != expected {
            return Err(PolicyFormError::LayerType { found: shown(&layer.media_type), expected });
        }
        let text = |key: &str| manifest.annotations.get(key);
        if let Some(found) = text(CONTRACT_KEY).filter(|found| *found != CONTRACT) {
            return Err(PolicyFormError::Contract { found: shown(found) });
        }
        let digest = |key: &'static str| {
            let parsed = text(key).map(|text| Digest::parse(text)).transpose();
            parsed.map_err(|_| PolicyFormError::Annotation { key })
        };
        let engine = match is_text {
            false => None,
            true => {
                let malformed = |key| PolicyFormError::Annotation { key };
                let reference = text(ENGINE_KEY).and_then(|text| text.parse().ok());
                Some(EngineOfText {
                    reference: reference.ok_or(malformed(ENGINE_KEY))?,
                    component: digest(ENGINE_COMPONENT_KEY)?
                        .ok_or(malformed(ENGINE_COMPONENT_KEY))?,
                    own_settings: text(OWN_SETTINGS_KEY).cloned(),
                })
            }
        };
        Ok(Self {
            layer: layer.clone(),
            config: manifest.config.clone(),
            engine,
            revision: revision(manifest)?,
            name: text(NAME_KEY).map(|text| shown(text)),
            version: text(VERSION_KEY).map(|text| shown(text)),
            summary: text(SUMMARY_KEY).map(|text| countersign::visible(text)),
            contract: text(CONTRACT_KEY).cloned(),
            settings_schema: digest(SCHEMA_KEY)?,
            cases: digest(CASES_KEY)?,
            run: digest(RUN_KEY)?,
        })
    }
}

/// The revision: decimal digits without leading zeros. An artifact of other tools has none, and is before all that do.
fn revision(manifest: &ImageManifest) -> Result<u64, PolicyFormError> {
    let Some(text) = manifest.annotations.get(REVISION_KEY) else { return Ok(0) };
    let parsed: Option<u64> = text.parse().ok();
    parsed
        .filter(|parsed| parsed.to_string() == *text)
        .ok_or(PolicyFormError::Annotation { key: REVISION_KEY })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(content: NewContent) -> NewPolicy {
        NewPolicy {
            content,
            name: "who-may".to_owned(),
            version: "1.2.0".to_owned(),
            summary: "Says who may".to_owned(),
            revision: 7,
            settings_schema: Some(b"{}".to_vec()),
            cases: None,
            run: None,
            created: None,
            author: None,
        }
    }

    /// The bytes of the layout are those that other tools read, and are the same everywhere.
    #[test]
    fn a_component_has_the_layout_of_tag_runtime_to_the_byte() {
        let (artifact, sides) = policy(NewContent::Component(b"wasm".to_vec())).artifacts();
        let layer = Digest::of(b"wasm");
        let config = format!(
            r#"{{"created":"1970-01-01T00:00:00Z","architecture":"wasm","os":"wasip2","layerDigests":["{layer}"],"component":{{"exports":["countersign:policy/policy@1.0.0"],"imports":[]}}}}"#
        );
        let schema = Digest::of(b"{}");
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.wasm.config.v0+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/wasm","digest":"{layer}","size":4,"annotations":{{"org.opencontainers.image.title":"who-may.wasm"}}}}],"annotations":{{"io.countersign.contract":"countersign:policy/token-policy@1.0.0","io.countersign.revision":"7","io.countersign.settings-schema":"{schema}","org.opencontainers.image.description":"Says who may","org.opencontainers.image.title":"who-may","org.opencontainers.image.version":"1.2.0"}}}}"#,
            Digest::of(config.as_bytes()),
            config.len()
        );
        assert_eq!(String::from_utf8(artifact.manifest.clone()).unwrap(), manifest);
        assert_eq!(artifact.blobs, [config.into_bytes(), b"wasm".to_vec()]);
        let [side] = sides.as_slice() else { panic!("{sides:?}") };
        let side = ImageManifest::parse(&side.manifest).unwrap();
        assert_eq!(side.subject.unwrap().digest, artifact.digest());
    }

    /// A manifest that names what is nowhere cannot be fetched.
    #[test]
    fn everything_that_a_manifest_names_is_published() {
        let mut whole = policy(NewContent::Component(b"wasm".to_vec()));
        (whole.cases, whole.run) = (Some(b"cases".to_vec()), Some(b"run".to_vec()));
        let (artifact, sides) = whole.artifacts();
        let manifest = ImageManifest::parse(&artifact.manifest).unwrap();
        let named: Vec<_> = PolicyManifest::of(&manifest).unwrap().sides().collect();
        assert_eq!(named.len(), 3);
        let published: Vec<_> =
            sides.iter().flat_map(|side| &side.blobs).map(|blob| Digest::of(blob)).collect();
        assert!(named.iter().all(|digest| published.contains(digest)), "{published:?}");
    }

    #[test]
    fn a_manifest_is_read_as_it_was_made() {
        let engine = format!("oci://r.example/engines/rego@{}", Digest::of(b"m"));
        let content = NewContent::Text {
            settings: b"{}".to_vec(),
            engine: engine.parse().unwrap(),
            component: Digest::of(b"engine"),
            own_settings: Some("settings".to_owned()),
        };
        let (artifact, _) = policy(content).artifacts();
        let parsed = ImageManifest::parse(&artifact.manifest).unwrap();
        let read = PolicyManifest::of(&parsed).unwrap();
        let of_text = read.engine.unwrap();
        assert_eq!(of_text.reference.to_string(), engine);
        assert_eq!(of_text.component, Digest::of(b"engine"));
        assert_eq!((read.revision, read.layer.digest), (7, Digest::of(b"{}")));
    }

    #[test]
    fn another_kind_of_artifact_is_no_policy() {
        let (artifact, sides) = policy(NewContent::Component(b"wasm".to_vec())).artifacts();
        let whole = ImageManifest::parse(&artifact.manifest).unwrap();
        let of = |change: &dyn Fn(&mut ImageManifest)| {
            let mut manifest = whole.clone();
            change(&mut manifest);
            PolicyManifest::of(&manifest).unwrap_err()
        };
        let side = ImageManifest::parse(&sides[0].manifest).unwrap();
        assert!(matches!(PolicyManifest::of(&side), Err(PolicyFormError::Kind { .. })));
        assert!(matches!(of(&|m| m.layers.clear()), PolicyFormError::Layers { found: 0 }));
        let two = of(&|m| m.layers.push(m.layers[0].clone()));
        assert!(matches!(two, PolicyFormError::Layers { found: 2 }));
        let tar = of(&|m| m.layers[0].media_type = "application/x-tar".to_owned());
        assert!(matches!(tar, PolicyFormError::LayerType { .. }));
        for text in ["", "-1", "+1", "01", "1.0", "18446744073709551616", "1 "] {
            let error = of(&|m| drop(m.annotations.insert(REVISION_KEY.into(), text.into())));
            assert_eq!(error, PolicyFormError::Annotation { key: REVISION_KEY }, "{text}");
        }
        let other = of(&|m| drop(m.annotations.insert(CONTRACT_KEY.into(), "x".into())));
        assert!(matches!(other, PolicyFormError::Contract { .. }));
    }
}
