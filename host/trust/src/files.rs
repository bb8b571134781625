//! Files of trust, read together.

use std::collections::BTreeMap;

use crate::hcl::{self, HclFile, Names};
use crate::node::Place;
use crate::trust_statement::Grant;
use crate::{json, read};

/// The trust that some files have, read together: names that one defines are known in the others.
#[derive(Debug, Default)]
pub struct TrustFiles {
    /// Each way in, and the file that has it.
    pub(crate) grants: Vec<(String, Grant)>,
    /// What else may let somebody in, and where.
    pub(crate) unread: Vec<(String, Place, String)>,
    files: usize,
}

/// A file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct FileError {
    /// Its name, as it was given.
    pub file: String,
    /// What is wrong: for HCL with line and column.
    pub problem: String,
}

impl TrustFiles {
    /// Reads files, given by name and text: `.tf` and `.hcl` are HCL, all else is JSON.
    ///
    /// JSON is looked through for IAM policies, federated identity credentials, providers of workload
    /// identity pools, policies that bind their principals, and STACKIT's providers, wherever they stand in it: what
    /// the clouds' command lines print can be given as it is. Files that have none of these are not an error.
    ///
    /// # Errors
    /// When a file is not in its language, is longer than 4 MiB, or is nested too deep.
    pub fn parse(files: &[(String, String)]) -> Result<Self, FileError> {
        let mut of_hcl = Vec::new();
        let mut grants = Vec::new();
        for (name, text) in files {
            let error = |problem| FileError { file: name.clone(), problem };
            if name.ends_with(".tf") || name.ends_with(".hcl") {
                of_hcl.push((name, HclFile::parse(text).map_err(error)?));
            } else {
                let node = json::parse(text).map_err(error)?;
                grants.extend(read::json(&node).into_iter().map(|grant| (name.clone(), grant)));
            }
        }
        // Names are those of a folder: OpenTofu reads one as a whole.
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
                grants.extend(found.into_iter().map(|grant| ((*name).clone(), grant)));
            }
        }
        let modules = of_hcl.iter().flat_map(|(name, file)| {
            hcl::modules(file).map(|(module, place)| {
                ((*name).clone(), place, format!("what the module `{module}` makes"))
            })
        });
        let unread = modules.collect();
        grants.sort_by(|(a, one), (b, other)| (a, &one.place).cmp(&(b, &other.place)));
        Ok(Self { grants, unread, files: files.len() })
    }

    /// How many ways in there are.
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Whether nothing was found that lets anybody in.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// How many files were read.
    pub fn files(&self) -> usize {
        self.files
    }
}
