//! Trust files, parsed together.

use std::collections::BTreeMap;

use crate::hcl::{self, HclFile, Names};
use crate::node::Place;
use crate::trust_statement::TrustStatement;
use crate::{json, read};

/// The trust statements of files that are parsed together: a name that one file defines is known in the others of its
/// folder.
#[derive(Debug, Default)]
pub struct TrustFiles {
    /// Each trust statement, with the file that contains it.
    pub(crate) statements: Vec<(String, TrustStatement)>,
    /// Other places that may contain trust statements: the calls of modules.
    pub(crate) unresolved: Vec<(String, Place, String)>,
    files: usize,
}

/// The error for a file that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct FileError {
    /// The file's name, as it was given.
    pub file: String,
    /// The problem; for HCL with line and column.
    pub problem: String,
}

impl TrustFiles {
    /// Parses files, given by name and text: `.tf` and `.hcl` are HCL, all others are JSON.
    ///
    /// JSON is searched for IAM policies, federated identity credentials, providers of workload identity pools,
    /// policies that bind their principals, and STACKIT's providers, at any depth: the output of the clouds' command
    /// lines can be given unchanged. A file with none of these is not an error.
    ///
    /// # Errors
    /// Returns an error if a file is not in its language, is longer than 4 MiB, or is nested too deep.
    pub fn parse(files: &[(String, String)]) -> Result<Self, FileError> {
        let mut of_hcl = Vec::new();
        let mut statements = Vec::new();
        for (name, text) in files {
            let error = |problem| FileError { file: name.clone(), problem };
            if name.ends_with(".tf") || name.ends_with(".hcl") {
                of_hcl.push((name, HclFile::parse(text).map_err(error)?));
            } else {
                let node = json::parse(text).map_err(error)?;
                statements.extend(
                    read::json(&node).into_iter().map(|statement| (name.clone(), statement)),
                );
            }
        }
        // Names are scoped by folder, since OpenTofu loads a folder as one module.
        let folder = |name: &str| name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let mut folders: BTreeMap<String, Vec<(&String, &HclFile)>> = BTreeMap::new();
        for (name, file) in &of_hcl {
            folders.entry(folder(name)).or_default().push((*name, file));
        }
        for files in folders.values() {
            let names = Names::of(files.iter().map(|(_, file)| *file));
            let blocks = files.iter().flat_map(|(name, file)| {
                hcl::blocks(file, &names).into_iter().map(move |block| (*name, block))
            });
            let blocks: Vec<_> = blocks.collect();
            let data = blocks.iter().filter(|(_, block)| block.kind == "data");
            let data = data.map(|(_, block)| block.labels.join(".")).collect();
            for (name, block) in &blocks {
                let found = read::block(block, &data);
                statements.extend(found.into_iter().map(|statement| ((*name).clone(), statement)));
            }
        }
        let modules = of_hcl.iter().flat_map(|(name, file)| {
            hcl::modules(file).map(|(module, place)| {
                ((*name).clone(), place, format!("what the module `{module}` makes"))
            })
        });
        let unresolved = modules.collect();
        statements.sort_by(|(a, one), (b, other)| (a, &one.place).cmp(&(b, &other.place)));
        Ok(Self { statements, unresolved, files: files.len() })
    }

    /// The number of trust statements.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Returns true if the files contain no trust statement.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// The number of files.
    pub fn files(&self) -> usize {
        self.files
    }
}
