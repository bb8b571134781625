//! Facts that a run object has beyond the fields of the contract, which never grow within a major version.

/// A fact that comes from the run object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectFact {
    /// Its name in `run.facts`. Nobody can register it.
    pub name: &'static str,
    /// JSON pointers into the run object: the first that leads to a text is taken.
    pub pointers: &'static [&'static str],
    /// The meaning, in a sentence for people.
    pub summary: &'static str,
    /// May be a URL, which may hold a secret.
    pub(crate) is_url: bool,
}

/// Those of the [`OBJECT_FACTS`] that are names for people. Whoever owns the thing may change them at any time.
pub const DISPLAY_NAMES: [&str; 2] = ["building-block-name", "definition-name"];

macro_rules! implementation {
    ($member:literal) => {
        concat!("/spec/buildingBlockDefinition/spec/implementation/", $member)
    };
}

/// The facts that come from the run object, where it has them: texts of 1 to 1,024 bytes without control characters. An
/// address that has a password, a token or anything else of its reader in it is left out.
pub const OBJECT_FACTS: [ObjectFact; 7] = [
    ObjectFact {
        name: DISPLAY_NAMES[0],
        pointers: &["/spec/buildingBlock/spec/displayName"],
        summary: "The display name of the building block.",
        is_url: false,
    },
    ObjectFact {
        name: DISPLAY_NAMES[1],
        pointers: &["/spec/buildingBlockDefinition/spec/displayName"],
        summary: "The display name of the definition.",
        is_url: false,
    },
    ObjectFact {
        name: "opentofu-version",
        pointers: &[implementation!("terraformVersion")],
        summary: "The version of OpenTofu or Terraform that the definition asks for, as it is written there.",
        is_url: false,
    },
    ObjectFact {
        name: "repository",
        pointers: &[implementation!("repository")],
        summary: "The repository of a workflow, such as `owner/name`.",
        is_url: true,
    },
    ObjectFact {
        name: "repository-path",
        pointers: &[implementation!("repositoryPath")],
        summary: "The folder of the implementation in its repository.",
        is_url: false,
    },
    ObjectFact {
        name: "repository-ref",
        pointers: &[implementation!("refName"), implementation!("branch")],
        summary: "The branch, tag or commit of the implementation.",
        is_url: false,
    },
    ObjectFact {
        name: "repository-url",
        pointers: &[implementation!("repositoryUrl")],
        summary: "The address of the repository of the implementation.",
        is_url: true,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::identifier::FactName;

    #[test]
    fn names_are_those_of_facts_in_their_order() {
        let names: Vec<_> = OBJECT_FACTS.iter().map(|fact| fact.name).collect();
        assert!(names.is_sorted());
        assert!(names.iter().all(|name| FactName::parse(name).is_ok()), "{names:?}");
    }
}
