//! The views of a VM, by gate. See: docs/memory-map.md.

use super::gate_image::GateImage;
use super::ram::Ram;
use super::tables::{self, SlotTables, Use};
use crate::platform::hierarchy::LARGE_PAGE;
use crate::platform::physical::{self, OutOfFrames};
use crate::platform::table::Table;
use crate::vmx::ept::{Access, EptPointer, View};
use crate::vmx::field::Field;
use crate::vmx::instruction::{invvpid, write};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sluice_abi::boot::{IMAGE_START, STACK_GUARD};
use sluice_abi::directory::GateKind;
use sluice_abi::{Gpa, Hpa, map};

/// Indices in the EPTP list. All other entries are always 0.
const HOME: usize = 0;
const FIRST: usize = 1;
const WINDOW: usize = 2;

/// The view in which a vCPU was when it exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichView {
    /// The view of its own RAM.
    Home,
    /// The view of its own RAM and of peers (gate `Guarded`).
    Guarded,
    /// The gate view.
    Gate,
    /// The window view.
    Window,
}

/// All views of one VM.
pub struct Views {
    home: View,
    crossing: Crossing,
    /// With the gates `Direct` and `Guarded`, a large page that nobody uses: see [`Views::hide`].
    sink: Option<Hpa>,
}

enum Crossing {
    /// Gate `Hypercall`: no view of the VM shows a peer.
    None,
    /// Gate `Direct`: home shows peers.
    Home,
    Guarded {
        view: View,
        list: Table,
    },
    Isolated(Isolated),
}

/// A peer's RAM, and where a sender sees parts of it: the peer's guest-physical address `g` is at slot offset `offset +
/// g`.
#[derive(Clone, Copy)]
pub struct PeerMemory {
    /// Slot offset of the peer's first page.
    pub offset: u64,
    /// The peer's RAM.
    pub ram: Ram,
}

/// Pages of the host that a VM's home view maps, read-only or execute-only.
pub struct HomePages {
    /// The stub.
    pub stub: Hpa,
    /// The directory: [`map::DIRECTORY_LEN`] bytes.
    pub directory: Hpa,
    /// The flow memory of a VM with an in-VM switch.
    pub flows: Option<FlowFrames>,
}

/// The flow memory of a VM: large pages that lie in a row.
#[derive(Clone, Copy)]
pub struct FlowFrames {
    /// The table, which the VM reads, and its length in bytes.
    pub table: (Hpa, u64),
    /// The records, which the VM writes, and their length in bytes.
    pub records: (Hpa, u64),
}

impl Views {
    /// Returns the views of a VM with RAM `ram`, gate `gate` and permitted peers `peers`. None of the peers' memory is
    /// mapped yet.
    pub fn new(
        gate: GateKind,
        ram: Ram,
        pages: &HomePages,
        image: &GateImage,
        state: Hpa,
        peers: &[PeerMemory],
    ) -> Result<Self, OutOfFrames> {
        let home = home_view(ram, pages)?;
        let crossing = match gate {
            GateKind::Hypercall => Crossing::None,
            GateKind::Direct => Crossing::Home,
            GateKind::Guarded => {
                let view = home_view(ram, pages)?;
                Crossing::Guarded { view, list: list(home, view)? }
            }
            GateKind::Isolated => Crossing::Isolated(Isolated::new(home, image, state, peers)?),
        };
        let has_sink = matches!(gate, GateKind::Direct | GateKind::Guarded) && !peers.is_empty();
        let sink = has_sink.then(|| physical::alloc_contiguous(LARGE_PAGE, LARGE_PAGE)).transpose()?;
        Ok(Self { home, crossing, sink })
    }

    /// Returns the view in which a VM starts.
    pub fn home(&self) -> EptPointer {
        self.home.pointer()
    }

    /// Returns the EPTP list; `None` if the VM may not use VMFUNC.
    pub fn list(&self) -> Option<Hpa> {
        match &self.crossing {
            Crossing::None | Crossing::Home => None,
            Crossing::Guarded { list, .. } => Some(list.hpa()),
            Crossing::Isolated(isolated) => Some(isolated.list.hpa()),
        }
    }

    /// Returns which view the EPTP field names.
    pub fn place(&self, eptp: u64) -> WhichView {
        match &self.crossing {
            Crossing::Guarded { view, .. } if view.pointer().0 == eptp => WhichView::Guarded,
            Crossing::Isolated(isolated) if isolated.gate.pointer().0 == eptp => WhichView::Gate,
            Crossing::Isolated(isolated) if isolated.window.pointer().0 == eptp => WhichView::Window,
            _ => WhichView::Home,
        }
    }

    /// Returns the view that maps peers, if any does.
    fn peers(&self) -> Option<View> {
        match &self.crossing {
            Crossing::None => None,
            Crossing::Home => Some(self.home),
            Crossing::Guarded { view, .. } => Some(*view),
            Crossing::Isolated(isolated) => Some(isolated.window),
        }
    }

    /// Maps `len` bytes of a peer's memory at slot offset `offset` (rule G1). The vCPU is not in the window.
    pub fn show(&mut self, offset: u64, hpa: Hpa, len: u64) -> Result<(), OutOfFrames> {
        let Some(view) = self.peers() else { return Ok(()) };
        view.map(slot(offset), hpa, len, Access::READ_WRITE)?.invept(view);
        Ok(())
    }

    /// Unmaps `len` bytes of a peer's memory at slot offset `offset` (rules G1, G13). The vCPU is not in the window.
    ///
    /// With the gates `Direct` and `Guarded` the ring code is the VM's own, and may be interrupted in the middle of a
    /// call. A page that nobody uses is mapped for it then: with an EPT violation instead, a peer could end its sender.
    pub fn hide(&mut self, offset: u64, len: u64) -> Result<(), OutOfFrames> {
        let Some(view) = self.peers() else { return Ok(()) };
        let Some(sink) = self.sink else {
            view.unmap(slot(offset), len)?.invept(view);
            return Ok(());
        };
        let mut done = 0;
        while done < len {
            let piece = (LARGE_PAGE - (offset + done) % LARGE_PAGE).min(len - done);
            view.map(slot(offset + done), sink, piece, Access::READ_WRITE)?.invept(view);
            done += piece;
        }
        Ok(())
    }

    /// Closes the window and puts the vCPU in home, for a call that is aborted. Returns `false` if the VM has no such
    /// gate.
    pub fn end_call(&mut self, vpid: u16) -> bool {
        let home = self.home();
        let Some(isolated) = self.isolated() else { return false };
        isolated.disarm(vpid);
        write(Field::EptPointer, home.0);
        true
    }

    /// Returns which view the EPTP field names at an exit; `None` if that is home and the list is not as it must be
    /// there (rule G3).
    pub fn place_at_exit(&self, eptp: u64) -> Option<WhichView> {
        let place = self.place(eptp);
        let rests = match &self.crossing {
            Crossing::Isolated(isolated) => place != WhichView::Home || isolated.at_rest(self.home()),
            _ => true,
        };
        rests.then_some(place)
    }

    /// Returns the views of the gate `Isolated`, if the VM has that gate.
    pub fn isolated(&mut self) -> Option<&mut Isolated> {
        match &mut self.crossing {
            Crossing::Isolated(isolated) => Some(isolated),
            _ => None,
        }
    }
}

fn home_view(ram: Ram, pages: &HomePages) -> Result<View, OutOfFrames> {
    let view = View::new()?;
    // All of RAM is mapped but the page below the image.
    let image = Hpa(ram.hpa.0 + IMAGE_START.0);
    view.map(Gpa(0), ram.hpa, STACK_GUARD.0, Access::all())?.not_yet_used();
    view.map(IMAGE_START, image, ram.len - IMAGE_START.0, Access::all())?.not_yet_used();
    view.map(slot(map::GATE), pages.stub, map::PAGE, Access::READ | Access::EXECUTE)?.not_yet_used();
    view.map(slot(map::DIRECTORY), pages.directory, map::DIRECTORY_LEN, Access::READ)?.not_yet_used();
    if let Some(FlowFrames { table, records }) = pages.flows {
        view.map(slot(map::FLOWS), table.0, table.1, Access::READ)?.not_yet_used();
        view.map(slot(map::FLOW_RECORDS), records.0, records.1, Access::READ_WRITE)?.not_yet_used();
    }
    Ok(view)
}

fn list(home: View, first: View) -> Result<Table, OutOfFrames> {
    let list = Table::alloc()?;
    list.set(HOME, home.pointer().0);
    list.set(FIRST, first.pointer().0);
    Ok(list)
}

fn slot(offset: u64) -> Gpa {
    Gpa(map::SLOT_GPA + offset)
}

/// Gate view and window view of one vCPU.
pub struct Isolated {
    gate: View,
    window: View,
    list: Table,
    constant: Table,
    gate_tables: SlotTables,
    window_tables: SlotTables,
    cr3_page: Option<Gpa>,
}

/// A CR3 that no guest can have, before the registration.
const NO_CR3: u64 = u64::MAX;

impl Isolated {
    fn new(home: View, image: &GateImage, state: Hpa, peers: &[PeerMemory]) -> Result<Self, OutOfFrames> {
        let (gate, window) = (View::new()?, View::new()?);
        let mut isolated = Self {
            list: list(home, gate)?,
            constant: Table::alloc()?,
            gate_tables: SlotTables::new(gate, tables::FEW)?,
            window_tables: SlotTables::new(window, tables::FEW + tables::FOR_PEER * peers.len())?,
            gate,
            window,
            cr3_page: None,
        };
        isolated.list.set(WINDOW, isolated.window.at_rest().0 | EptPointer::DISABLED);
        isolated.constant.set(map::CONSTANT_WORD as usize / 8, NO_CR3);
        isolated.fill_gate(image)?;
        isolated.fill_window(image, state, peers)?;
        Ok(isolated)
    }

    fn fill_gate(&mut self, image: &GateImage) -> Result<(), OutOfFrames> {
        let (list, constant) = (self.list.hpa(), self.constant.hpa());
        self.in_gate(map::GATE, image.gate, map::PAGE, Access::EXECUTE, Use::Code)?;
        self.in_gate(map::LIST, list, map::PAGE, Access::READ_WRITE, Use::Data)?;
        self.in_gate(map::CONSTANT, constant, map::PAGE, Access::READ, Use::Constant)
    }

    fn fill_window(&mut self, image: &GateImage, state: Hpa, peers: &[PeerMemory]) -> Result<(), OutOfFrames> {
        self.in_window(map::GATE, image.window, map::PAGE, Access::EXECUTE, Use::Code)?;
        for part in &image.code {
            let (access, usage) =
                if part.execute { (Access::EXECUTE, Use::Code) } else { (Access::READ, Use::Constant) };
            self.in_window(part.offset, part.hpa, part.len, access, usage)?;
        }
        let stack = physical::alloc_contiguous(map::STACK_LEN, map::PAGE)?;
        self.in_window(map::STACK, stack, map::STACK_LEN, Access::READ_WRITE, Use::Data)?;
        self.in_window(map::STATE, state, map::STATE_LEN, Access::READ_WRITE, Use::Data)?;
        // The page tables map all of these ranges; the EPT maps of them what is registered.
        self.window_tables.map(map::REQUEST, map::PAGE, Use::Constant)?;
        self.window_tables.map(map::PACKETS, map::PACKETS_LEN, Use::Data)?;
        peers.iter().try_for_each(|peer| self.window_tables.map(peer.offset, peer.ram.len, Use::Data))
    }

    fn in_gate(&mut self, at: u64, hpa: Hpa, len: u64, access: Access, usage: Use) -> Result<(), OutOfFrames> {
        self.gate_tables.map(at, len, usage)?;
        self.gate.map(slot(at), hpa, len, access).map(|flush| flush.not_yet_used())
    }

    fn in_window(&mut self, at: u64, hpa: Hpa, len: u64, access: Access, usage: Use) -> Result<(), OutOfFrames> {
        self.window_tables.map(at, len, usage)?;
        self.window.map(slot(at), hpa, len, access).map(|flush| flush.not_yet_used())
    }

    /// Registers `cr3` as the CR3 of this vCPU, and lets the window be armed (rules G4, G5).
    ///
    /// The views change while the vCPU is in home, on its own processor, so its flushes are enough.
    pub fn register(&mut self, cr3: u64, vpid: u16) -> Result<(), OutOfFrames> {
        let page = Gpa(cr3 & !0xfff);
        if let Some(old) = self.cr3_page.replace(page) {
            self.forget(old, vpid)?;
        }
        let (gate, window) = (self.gate_tables.root().hpa(), self.window_tables.root().hpa());
        self.gate.map(page, gate, map::PAGE, Access::READ)?.invept(self.gate);
        self.window.map(page, window, map::PAGE, Access::READ)?.invept(self.window);
        self.constant.set(map::CONSTANT_WORD as usize / 8, cr3 >> 12);
        self.list.set(WINDOW, self.window.at_rest().0);
        Ok(())
    }

    /// Restores the state before the first [`Isolated::register`] and [`Isolated::show_run`], for a VM that starts
    /// again.
    pub fn unregister(&mut self, vpid: u16) -> Result<(), OutOfFrames> {
        self.list.set(WINDOW, self.window.at_rest().0 | EptPointer::DISABLED);
        self.constant.set(map::CONSTANT_WORD as usize / 8, NO_CR3);
        self.hide_run(0, map::PACKETS_LEN)?;
        let Some(old) = self.cr3_page.take() else { return Ok(()) };
        self.window.unmap(slot(map::REQUEST), map::PAGE)?.invept(self.window);
        self.forget(old, vpid)
    }

    /// Unmaps the page of a CR3 that was registered in gate and window.
    fn forget(&mut self, page: Gpa, vpid: u16) -> Result<(), OutOfFrames> {
        self.gate.unmap(page, map::PAGE)?.invept(self.gate);
        self.window.unmap(page, map::PAGE)?.invept(self.window);
        invvpid(vpid);
        Ok(())
    }

    /// Maps the page `request` as the VM's request block in the window, in place of any other.
    pub fn show_request(&mut self, request: Hpa) -> Result<(), OutOfFrames> {
        self.window.map(slot(map::REQUEST), request, map::PAGE, Access::READ)?.invept(self.window);
        Ok(())
    }

    /// Maps `len` bytes at `hpa` in the window as packet memory from `offset` on.
    pub fn show_run(&mut self, offset: u64, hpa: Hpa, len: u64) -> Result<(), OutOfFrames> {
        self.window.map(slot(map::PACKETS + offset), hpa, len, Access::READ_WRITE)?.invept(self.window);
        Ok(())
    }

    /// Unmaps `len` bytes of packet memory from `offset` on in the window.
    pub fn hide_run(&mut self, offset: u64, len: u64) -> Result<(), OutOfFrames> {
        self.window.unmap(slot(map::PACKETS + offset), len)?.invept(self.window);
        Ok(())
    }

    /// Keeps the window from being opened again, or lets it be opened (rule G13). Before the first
    /// [`Isolated::register`] it is never opened.
    pub fn hold(&mut self, held: bool) {
        let entry = self.list.get(WINDOW) & !EptPointer::DISABLED;
        let held = held || self.cr3_page.is_none();
        self.list.set(WINDOW, if held { entry | EptPointer::DISABLED } else { entry });
    }

    /// Returns whether the window is held.
    pub fn is_held(&self) -> bool {
        self.cr3_page.is_some() && self.list.get(WINDOW) & EptPointer::DISABLED != 0
    }

    /// Closes the window from outside (rule G9): the low byte of its entry becomes what the closing store of the gate
    /// leaves, and bit 63 stays. The processor drops mappings of page tables other than the registered ones (rule G11).
    pub fn disarm(&mut self, vpid: u16) {
        let entry = self.list.get(WINDOW);
        self.list.set(WINDOW, entry & !0xff | u64::from(EptPointer::AT_REST));
        invvpid(vpid);
    }

    /// Returns whether the list is as it must be while the vCPU is in home: the window at rest, and all other entries
    /// unchanged.
    pub fn at_rest(&self, home: EptPointer) -> bool {
        let window = self.list.get(WINDOW) & !EptPointer::DISABLED;
        self.list.get(HOME) == home.0
            && self.list.get(FIRST) == self.gate.pointer().0
            && window == self.window.at_rest().0
            && self.list.words().is_some_and(|list| are_zero(&list[WINDOW + 1..]))
    }
}

/// Returns whether all `words` are 0. Each turn takes several, as the compiler unrolls no loop of atomic accesses, and
/// every exit from home asks.
fn are_zero(words: &[AtomicU64]) -> bool {
    let any = |words: &[AtomicU64]| words.iter().fold(0, |any, word| any | word.load(Relaxed));
    let (turns, rest) = words.as_chunks::<8>();
    turns.iter().fold(any(rest), |all, turn| all | any(turn)) == 0
}

#[cfg(all(test, not(target_os = "none")))]
mod tests;
