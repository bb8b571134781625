//! Writes the inputs that fuzzing begins with into a corpus folder, beside what is there.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).map(PathBuf::from);
    let Some(folder) = folder else {
        return Err(io::Error::other("usage: seeds FOLDER"));
    };
    for (target, seed) in countersign_fuzz_targets::seeds() {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(countersign_fuzz_targets::name_of(&seed)), seed)?;
    }
    Ok(())
}
