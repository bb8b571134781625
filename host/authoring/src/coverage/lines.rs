//! Which code is of which line: the line table that the compiler left in the module.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use gimli::{Dwarf, EndianSlice, LineProgramHeader, LineRow, LittleEndian, Unit};
use wasmparser::{Parser, Payload};

use super::{CodeLine, CoverageError, SourceFile, of_module};

type Reader<'m> = EndianSlice<'m, LittleEndian>;

/// The code of each line, as offsets in the module's bytes.
type Lines = BTreeMap<CodeLine, Vec<Range<usize>>>;

/// The code of each line of the policy's own files.
pub(super) fn of(
    module: &[u8],
    own: &dyn Fn(&Path) -> Option<SourceFile>,
) -> Result<Lines, CoverageError> {
    let mut sections = HashMap::new();
    let mut code = 0;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(of_module)? {
            // The line table counts from here.
            Payload::CodeSectionStart { range, .. } => code = range.start,
            Payload::CustomSection(section) => {
                sections.insert(section.name(), section.data());
            }
            _ => {}
        }
    }
    let section = |id: gimli::SectionId| {
        let data = sections.get(id.name()).copied().unwrap_or_default();
        Ok::<_, gimli::Error>(EndianSlice::new(data, LittleEndian))
    };
    read(&Dwarf::load(section).map_err(of_module)?, code, own).map_err(of_module)
}

fn read(
    dwarf: &Dwarf<Reader<'_>>,
    code: usize,
    own: &dyn Fn(&Path) -> Option<SourceFile>,
) -> gimli::Result<Lines> {
    let mut lines = Lines::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let Some(program) = unit.line_program.clone() else { continue };
        let mut files = HashMap::new();
        let mut rows = program.rows();
        // A row says of the code up to the next one what line it is of.
        let mut begun: Option<(CodeLine, usize)> = None;
        let mut sequence = None;
        while let Some((header, row)) = rows.next_row()? {
            let address = usize::try_from(row.address()).unwrap_or(usize::MAX);
            if let Some((line, start)) = begun.take().filter(|(_, start)| *start < address) {
                let range = start.saturating_add(code)..address.saturating_add(code);
                lines.entry(line).or_default().push(range);
            }
            // The code of functions that the linker left out is at 0, where there is no function.
            let of_function = *sequence.get_or_insert(address) != 0;
            if row.end_sequence() {
                sequence = None;
                continue;
            }
            let line = row.line().and_then(|line| u32::try_from(line.get()).ok());
            let Some(line) = line.filter(|_| of_function) else { continue };
            let file = files
                .entry(row.file_index())
                .or_insert_with(|| path(dwarf, &unit, header, row).and_then(|path| own(&path)));
            let file =
                file.as_ref().filter(|file| !file.left_out.iter().any(|r| r.contains(&line)));
            begun = file.map(|file| (CodeLine { file: file.name.clone(), line }, address));
        }
    }
    Ok(lines)
}

/// The whole path of a row's file, as the compiler wrote it down.
fn path(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &Unit<Reader<'_>>,
    header: &LineProgramHeader<Reader<'_>>,
    row: &LineRow,
) -> Option<PathBuf> {
    let text = |value| Some(dwarf.attr_string(unit, value).ok()?.to_string().ok()?.to_owned());
    let file = row.file(header)?;
    let folder = unit.comp_dir.and_then(|folder| folder.to_string().ok()).unwrap_or_default();
    let mut path = PathBuf::from(folder);
    // An absolute path takes the place of what is there.
    path.push(text(file.directory(header)?)?);
    path.push(text(file.path_name())?);
    Some(path)
}
