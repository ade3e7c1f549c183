//! How a PCI function is reached.

use crate::transport::registers::{RegisterBlock, Width};
use sluice_abi::pci::CONFIG_LEN;

/// Configuration space and BARs of a PCI function.
pub trait Function {
    /// Reads the 32 bits of configuration space at byte `offset`, a multiple of 4 below [`CONFIG_LEN`].
    fn config(&mut self, offset: u16) -> u32;
    /// Writes the 32 bits of configuration space at byte `offset`, a multiple of 4 below [`CONFIG_LEN`].
    fn set_config(&mut self, offset: u16, value: u32);
    /// Returns how many bytes of BAR `bar` can be reached; 0 if there is no such BAR.
    fn bar_len(&mut self, bar: u8) -> u64;
    /// Reads at `offset` of BAR `bar`, within its length, aligned.
    fn read(&mut self, bar: u8, offset: u32, width: Width) -> u32;
    /// Writes at `offset` of BAR `bar`, within its length, aligned.
    fn write(&mut self, bar: u8, offset: u32, width: Width, value: u32);
}

/// A function whose configuration space and BARs are mapped.
pub struct MappedFunction {
    config: RegisterBlock,
    /// By number.
    bars: [RegisterBlock; 6],
}

impl MappedFunction {
    /// Returns the function whose configuration space is at `config`, as PCI Express maps it, and whose BARs are at `bars`: start and
    /// bytes of each, 0 bytes for a BAR that the function does not have.
    ///
    /// # Safety
    /// [`CONFIG_LEN`] bytes at `config`, and each BAR, are mapped registers of that function for as long as the result lives, and nothing
    /// else. They are aligned to 4 bytes.
    #[allow(unsafe_code, reason = "passes on the contract of RegisterBlock::new")]
    pub unsafe fn new(config: *mut u8, bars: [(*mut u8, u64); 6]) -> Self {
        // SAFETY: the contract above.
        let block = |base, len| unsafe { RegisterBlock::new(base, len) };
        Self { config: block(config, CONFIG_LEN.into()), bars: bars.map(|(base, len)| block(base, len)) }
    }

    fn bar(&self, bar: u8) -> RegisterBlock {
        assert!(usize::from(bar) < self.bars.len(), "no BAR {bar}");
        self.bars[usize::from(bar)]
    }
}

impl Function for MappedFunction {
    fn config(&mut self, offset: u16) -> u32 {
        self.config.read(offset.into(), Width::Four)
    }

    fn set_config(&mut self, offset: u16, value: u32) {
        self.config.write(offset.into(), Width::Four, value);
    }

    fn bar_len(&mut self, bar: u8) -> u64 {
        self.bars.get(usize::from(bar)).map_or(0, |block| block.len())
    }

    fn read(&mut self, bar: u8, offset: u32, width: Width) -> u32 {
        self.bar(bar).read(offset, width)
    }

    fn write(&mut self, bar: u8, offset: u32, width: Width, value: u32) {
        self.bar(bar).write(offset, width, value);
    }
}
