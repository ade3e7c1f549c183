//! The window image: [`sluice_inside::transmit`] at the addresses of the window view.
//!
//! window.ld puts the entry point first, at `CODE` of the sluice slot, and refuses data, relocations and more code
//! than there is room. Built for any other target than bare metal it is a program that says so.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[allow(unsafe_code, reason = "fixed addresses of the window view, and the entry point's fixed name")]
mod image {
    use sluice_abi::{build_id, map};
    use sluice_inside::Window;
    use sluice_memory::{Avx, PeerSlice};

    /// Where the host looks for it: linker/window.ld puts it at the start of the constants.
    #[used]
    #[unsafe(link_section = ".rodata.build_id")]
    static BUILD_ID: [u64; 2] = [build_id::MAGIC, sluice_inside::BUILD_ID];

    /// Called by `enter` of trampoline/gate/src/gate.S, on the window's own stack. What was accepted stays in the
    /// state.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = ".text.entry")]
    extern "sysv64" fn window_entry(count: u64, state: *mut Window) -> u64 {
        // SAFETY: `enter` passes the address of the state. The host maps it for this vCPU alone, and wrote a valid
        // Window into it. A vCPU makes one call at a time, and the host writes only while the vCPU is outside.
        let window = unsafe { &mut *state };
        let request = state.cast::<u8>().wrapping_add((map::REQUEST - map::STATE) as usize);
        // SAFETY: the host maps the request block there. It is read-only in this view, and nothing here writes to it.
        let request = unsafe { PeerSlice::from_raw(request, map::PAGE) };
        // SAFETY: the host starts no VM on a processor without AVX, and has it switched on (XCR0, CR4.OSXSAVE) before
        // it does. A guest that makes it fault (CR0.TS) loses its call, as with any fault in here (rule G9).
        let lanes = unsafe { Avx::assume() };
        sluice_inside::transmit(window, request, count, lanes).status.0
    }

    unsafe extern "C" {
        /// Defined nowhere: if any panic is left in the window code, the image doesn't link (rule G12).
        fn the_window_code_must_not_panic() -> !;
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        // SAFETY: never linked.
        unsafe { the_window_code_must_not_panic() }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the window image runs in a window: build it for x86_64-unknown-none");
    std::process::exit(2);
}
