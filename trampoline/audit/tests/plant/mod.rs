//! An ELF file to plant things in: fields by their offsets. See: System V ABI, chapters 4 "Object Files" and 5 "Program
//! Loading".

use elf::ElfBytes;
use elf::endian::LittleEndian;

/// The file's bytes.
pub struct Image(pub Vec<u8>);

impl Image {
    fn elf(&self) -> ElfBytes<'_, LittleEndian> {
        ElfBytes::minimal_parse(&self.0).expect("an ELF file")
    }

    /// Address of the first instruction.
    pub fn entry(&self) -> u64 {
        self.elf().ehdr.e_entry
    }

    /// Address of the first constant.
    pub fn constants(&self) -> u64 {
        self.elf().section_header_by_name(".rodata").expect("sections").expect("constants").sh_addr
    }

    /// Address of the symbol whose name contains `name`.
    pub fn symbol(&self, name: &str) -> u64 {
        let (symbols, names) = self.elf().symbol_table().expect("a table").expect("symbols");
        let called = |name_at: u32| names.get(name_at as usize).expect("a name").contains(name);
        symbols.iter().find(|symbol| called(symbol.st_name)).expect("there").st_value
    }

    /// Offsets in the file from which on it `is` what is looked for.
    pub fn find_all(&self, is: impl Fn(&[u8]) -> bool) -> Vec<usize> {
        (0..self.0.len()).filter(|at| is(&self.0[*at..])).collect()
    }

    /// Puts `bytes` at `address`.
    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        let segments = self.elf().segments().expect("segments");
        let inside = |from: u64, len: u64| (from..from + len).contains(&address);
        let segment = segments.iter().find(|one| inside(one.p_vaddr, one.p_filesz)).expect("mapped");
        self.overwrite(segment.p_offset + (address - segment.p_vaddr), bytes);
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) {
        self.0[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn segment_header(&self, index: u64) -> u64 {
        let header = self.elf().ehdr;
        header.e_phoff + index * u64::from(header.e_phentsize)
    }

    /// Sets `p_flags` of a segment: 1 execute, 2 write, 4 read.
    pub fn segment_flags(&mut self, index: u64, flags: u32) {
        self.overwrite(self.segment_header(index) + 4, &flags.to_le_bytes());
    }

    /// Sets `p_memsz` of a segment.
    pub fn segment_len(&mut self, index: u64, len: u64) {
        self.overwrite(self.segment_header(index) + 40, &len.to_le_bytes());
    }

    /// Sets `sh_type` of a section.
    pub fn section_type(&mut self, name: &str, kind: u32) {
        let file = self.elf();
        let (headers, names) = file.section_headers_with_strtab().expect("sections");
        let names = names.expect("names");
        let index =
            headers.expect("headers").iter().position(|one| names.get(one.sh_name as usize).is_ok_and(|it| it == name));
        let at = file.ehdr.e_shoff + index.expect("there") as u64 * u64::from(file.ehdr.e_shentsize);
        self.overwrite(at + 4, &kind.to_le_bytes());
    }

    /// Changes a part of a symbol's name.
    pub fn rename(&mut self, old: &str, new: &str) {
        assert_eq!(old.len(), new.len());
        let at = self.0.windows(old.len()).position(|window| window == old.as_bytes()).expect("there");
        self.overwrite(at as u64, new.as_bytes());
    }

    /// Makes a symbol one that is defined elsewhere.
    pub fn undefine(&mut self, name: &str) {
        let file = self.elf();
        let table = file.section_header_by_name(".symtab").expect("sections").expect("symbols");
        let (symbols, names) = file.symbol_table().expect("a table").expect("symbols");
        let called = |name_at: u32| names.get(name_at as usize).expect("a name").contains(name);
        let index = symbols.iter().position(|symbol| called(symbol.st_name)).expect("there");
        self.overwrite(table.sh_offset + index as u64 * table.sh_entsize + 6, &[0, 0]);
    }

    /// Sets `e_entry`.
    pub fn set_entry(&mut self, entry: u64) {
        self.overwrite(24, &entry.to_le_bytes());
    }
}
