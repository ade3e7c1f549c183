//! Access to a PCI function.

use crate::transport::registers::{RegisterBlock, Width};

/// Configuration space and BARs of a PCI function.
pub trait Function {
    /// Reads the 32 bits of configuration space at byte `offset`, a multiple of 4 below
    /// [`sluice_abi::pci::CONFIG_LEN`].
    fn config(&mut self, offset: u16) -> u32;
    /// Writes the 32 bits of configuration space at byte `offset`, a multiple of 4 below
    /// [`sluice_abi::pci::CONFIG_LEN`].
    fn set_config(&mut self, offset: u16, value: u32);
    /// Returns the length of BAR `bar` in bytes; 0 if there is no such BAR.
    fn bar_len(&mut self, bar: u8) -> u64;
    /// Reads at `offset` of BAR `bar`, within its length, aligned.
    fn read(&mut self, bar: u8, offset: u32, width: Width) -> u32;
    /// Writes at `offset` of BAR `bar`, within its length, aligned.
    fn write(&mut self, bar: u8, offset: u32, width: Width, value: u32);
}

/// A function whose configuration space and BARs are mapped.
pub struct MappedFunction {
    config: RegisterBlock,
    /// The BARs by number.
    bars: [RegisterBlock; 6],
}

impl MappedFunction {
    /// Returns the function whose configuration space is `config`, as PCI Express maps it
    /// ([`sluice_abi::pci::CONFIG_LEN`] bytes), and whose BARs are `bars`, by number. A BAR that the function does not
    /// have is an empty block.
    pub const fn new(config: RegisterBlock, bars: [RegisterBlock; 6]) -> Self {
        Self { config, bars }
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
        self.bars.get(usize::from(bar)).map_or(u32::MAX, |block| block.read(offset, width))
    }

    fn write(&mut self, bar: u8, offset: u32, width: Width, value: u32) {
        if let Some(block) = self.bars.get(usize::from(bar)) {
            block.write(offset, width, value);
        }
    }
}
