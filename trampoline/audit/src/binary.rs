//! An ELF file: its segments, its sections, and the names of its addresses.

use anyhow::{Context, Result, bail};
use elf::ElfBytes;
use elf::abi::{EM_X86_64, PF_W, PF_X, PT_LOAD, SHN_UNDEF, SHT_DYNAMIC, SHT_REL, SHT_RELA, STT_FUNC};
use elf::endian::LittleEndian;
use elf::string_table::StringTable;
use elf::symbol::SymbolTable;
use std::collections::BTreeMap;

/// As much of an ELF file as an audit needs.
pub struct Binary {
    /// The address of the first instruction.
    pub entry: u64,
    /// The segments that a loader maps.
    pub segments: Vec<Segment>,
    /// Sections by name.
    pub sections: Vec<Section>,
    /// Defined symbols.
    pub symbols: Symbols,
    /// Names that the file does not define.
    pub undefined: Vec<String>,
}

/// A segment that a loader maps.
pub struct Segment {
    /// The address of the first byte.
    pub address: u64,
    /// The length in memory, in bytes.
    pub len: u64,
    /// The bytes that the file has of the segment.
    pub bytes: Vec<u8>,
    /// The segment is mapped writable.
    pub write: bool,
    /// The segment is mapped executable.
    pub execute: bool,
}

/// A section, and the bytes that the file has of it.
pub struct Section {
    /// The section's name.
    pub name: String,
    /// The section's bytes.
    pub bytes: Vec<u8>,
    /// A loader changes mapped bytes by this section: relocations, or a dynamic section.
    pub relocates: bool,
}

/// Names of addresses.
#[derive(Clone, Default)]
pub struct Symbols {
    names: BTreeMap<u64, String>,
    functions: Vec<u64>,
}

impl Symbols {
    /// Adds a function.
    pub fn add(&mut self, address: u64, name: &str) {
        self.names.insert(address, name.into());
        self.functions.push(address);
    }

    /// Returns the first addresses of functions.
    pub fn functions(&self) -> &[u64] {
        &self.functions
    }

    /// Returns each address with its name.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        self.names.iter().map(|(address, name)| (*address, name.as_str()))
    }

    /// Returns the address that is called `name`.
    pub fn find(&self, name: &str) -> Option<u64> {
        self.iter().find(|(_, known)| *known == name).map(|(address, _)| address)
    }

    /// Returns the nearest name at or before `address`, with the distance from it.
    pub fn describe(&self, address: u64) -> String {
        match self.names.range(..=address).next_back() {
            None => "?".into(),
            Some((start, name)) if *start == address => name.clone(),
            Some((start, name)) => format!("{name}+{:#x}", address - start),
        }
    }

    /// Returns the nearest function that starts at or before `address`.
    pub fn function_before(&self, address: u64) -> Option<u64> {
        self.functions.iter().copied().filter(|start| *start <= address).max()
    }
}

impl Segment {
    /// Returns the bytes from `address` on, if the segment has some.
    pub fn from(&self, address: u64) -> Option<&[u8]> {
        let at = usize::try_from(address.checked_sub(self.address)?).ok()?;
        self.bytes.get(at..).filter(|rest| !rest.is_empty())
    }
}

impl Binary {
    /// Reads a file for this processor.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).context("no ELF file")?;
        if file.ehdr.e_machine != EM_X86_64 {
            bail!("no ELF file for x86-64");
        }
        let mut binary = Self {
            entry: file.ehdr.e_entry,
            segments: segments(&file)?,
            sections: sections(&file)?,
            symbols: Symbols::default(),
            undefined: Vec::new(),
        };
        // A file without one may have the other.
        let tables = [file.dynamic_symbol_table()?, file.symbol_table()?];
        for (table, names) in tables.into_iter().flatten() {
            binary.name(&table, &names);
        }
        Ok(binary)
    }

    /// Returns the segments that are mapped executable.
    pub fn executable(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.execute)
    }

    /// Returns the segment that `address` is in.
    pub fn segment(&self, address: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.address <= address && address - segment.address < segment.len)
    }

    /// Returns the section called `name`.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    fn name(&mut self, table: &SymbolTable<'_, LittleEndian>, names: &StringTable<'_>) {
        let named = table.iter().filter(|symbol| symbol.st_name != 0);
        for symbol in named {
            let Ok(name) = names.get(symbol.st_name as usize) else { continue };
            let name = format!("{:#}", rustc_demangle::demangle(name));
            if symbol.st_shndx == SHN_UNDEF {
                self.undefined.push(name);
            } else if symbol.st_symtype() == STT_FUNC {
                self.symbols.add(symbol.st_value, &name);
            } else if self.segment(symbol.st_value).is_some() {
                self.symbols.names.entry(symbol.st_value).or_insert(name);
            }
        }
    }
}

fn segments(file: &ElfBytes<'_, LittleEndian>) -> Result<Vec<Segment>> {
    let loaded = file.segments().context("nothing to map")?.iter().filter(|segment| segment.p_type == PT_LOAD);
    let segment = |header| {
        let bytes = file.segment_data(&header)?.to_vec();
        let (write, execute) = (header.p_flags & PF_W != 0, header.p_flags & PF_X != 0);
        Ok(Segment { address: header.p_vaddr, len: header.p_memsz, bytes, write, execute })
    };
    loaded.map(segment).collect()
}

fn sections(file: &ElfBytes<'_, LittleEndian>) -> Result<Vec<Section>> {
    let (Some(headers), Some(names)) = file.section_headers_with_strtab()? else { return Ok(Vec::new()) };
    let section = |header| {
        let bytes = file.section_data(&header).map(|(bytes, _)| bytes.to_vec()).unwrap_or_default();
        let relocates = matches!(header.sh_type, SHT_REL | SHT_RELA | SHT_DYNAMIC);
        Ok(Section { name: names.get(header.sh_name as usize)?.into(), bytes, relocates })
    };
    headers.iter().map(section).collect()
}
