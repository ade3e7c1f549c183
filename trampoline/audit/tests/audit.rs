//! The audit passes on the images as they are released, and each rule fails on something that breaks it.
//!
//! Plants are bytes of the real images, changed in memory: the rest of the image stays what it was, and all other rules
//! hold.

use sluice_audit::{Kind, Pages, Rule};
use std::fs;
use std::sync::{Mutex, OnceLock};
use xtask::artifacts;

mod plant;
use plant::Image;

/// The image `name`, as built for the bare machine.
fn built(name: &str) -> Image {
    static BUILD: OnceLock<()> = OnceLock::new();
    static BUILDING: Mutex<()> = Mutex::new(());
    let turn = BUILDING.lock();
    BUILD.get_or_init(|| artifacts::build_bare().expect("the images build"));
    drop(turn);
    Image(fs::read(artifacts::bare().join(name)).expect("an image"))
}

fn broken(rules: &[Rule]) -> Vec<&'static str> {
    rules.iter().filter(|rule| !rule.holds).map(|rule| rule.rule).collect()
}

/// What is broken in the window with `bytes` over the start of its entry point.
#[track_caller]
fn in_window(bytes: &[u8], wanted: &[&str]) {
    let mut image = built("window");
    image.put(image.entry(), bytes);
    let rules = sluice_audit::window("window", &Pages::here(), &image.0).expect("a window");
    assert_eq!(broken(&rules), wanted, "{bytes:02x?}: {rules:#?}");
    let found = rules.iter().flat_map(|rule| &rule.findings);
    assert!(found.into_iter().all(|found| found.symbol.contains("window_entry")), "{rules:#?}");
}

/// The same, of an image that `change` changes otherwise.
#[track_caller]
fn in_image(name: &str, change: impl FnOnce(&mut Image), wanted: &[&str]) {
    let mut image = built(name);
    change(&mut image);
    let rules = sluice_audit::file(name, &image.0, None).expect("an image");
    assert_eq!(broken(&rules), wanted, "{rules:#?}");
}

/// The same, of pages: `bytes` take the place of `old` in the page that `of` picks.
#[track_caller]
fn in_page(of: fn(&mut Pages) -> &mut [u8; 4096], old: &[u8], bytes: &[u8], wanted: &[&str]) -> Vec<Rule> {
    let mut pages = Pages::here();
    let page = of(&mut pages);
    let at = page.windows(old.len()).position(|window| window == old).expect("there");
    page[at..at + bytes.len()].copy_from_slice(bytes);
    let mut rules = sluice_audit::gate(&pages);
    rules.extend(sluice_audit::window("window", &pages, &built("window").0).expect("a window"));
    assert_eq!(broken(&rules), wanted, "{rules:#?}");
    rules
}

fn gate(pages: &mut Pages) -> &mut [u8; 4096] {
    &mut pages.gate
}

fn window(pages: &mut Pages) -> &mut [u8; 4096] {
    &mut pages.window
}

fn stub(pages: &mut Pages) -> &mut [u8; 4096] {
    &mut pages.stub
}

#[test]
fn audit_holds_for_what_is_released() {
    let rules = xtask::audit::release().expect("the images build");
    assert_eq!(broken(&rules), [""; 0], "{rules:#?}");
    let count = |image: &str| rules.iter().filter(|rule| rule.image == image).count();
    assert_eq!((count("gate"), count("window"), count("monitor")), (5, 18, 2));
    let bounded = rules.iter().find(|rule| rule.rule == "bounded speculation").expect("a rule");
    assert!(!bounded.figure.starts_with("0 ") && !bounded.figure.contains(" 0 "), "{bounded:?}");
}

/// The masks of the peers' places left out, one at a time: a comparison before is a branch that is predicted.
#[test]
fn audit_finds_places_that_are_compared_and_not_masked() {
    // and, 63
    let masks = built("window").find_all(|bytes| matches!(bytes, [0x83, 0xe0..=0xe7, 0x3f, ..]));
    assert!(masks.len() >= 2, "{masks:x?}");
    let without = |at: usize| {
        let mut image = built("window");
        image.0[at..at + 3].copy_from_slice(&[0x0f, 0x1f, 0xc0]); // nop
        broken(&sluice_audit::file("window", &image.0, None).expect("an image"))
    };
    let found: Vec<_> = masks.into_iter().map(without).filter(|broken| !broken.is_empty()).collect();
    // Where an index comes from the window's own list of peers, the mask is not needed.
    assert!(found.len() >= 2 && found.iter().all(|broken| broken == &["bounded speculation"]), "{found:?}");
    // and what a ring's address is cut by: mov edi, edi; mov ebp, ebp.
    let cuts = built("window").find_all(|bytes| matches!(bytes, [0x89, 0xff | 0xed, ..]));
    assert!(!cuts.is_empty());
    let uncut = |image: &mut Image| cuts.iter().for_each(|at| image.0[*at..*at + 2].copy_from_slice(&[0x66, 0x90]));
    in_image("window", uncut, &["bounded speculation"]);
}

#[test]
fn audit_follows_what_a_packet_names_to_where_it_leads() {
    let load = [0x0f, 0xb7, 0x86, 6, 0, 0xc, 0]; // movzx eax, word [rsi + REQUEST - STATE + 6]
    let place = [0x48, 0x69, 0xc0, 0xa8, 0x09, 0, 0]; // imul rax, rax, 0x9a8
    let touch = [0x8b, 0x44, 0x06, 0x50, 0xc3]; // mov eax, [rsi + rax + 0x50]; ret
    let code = |between: &[u8]| [&load[..], between, &place, &touch].concat();
    let rule = ["bounded speculation"];
    in_window(&code(&[]), &rule);
    in_window(&code(&[0x83, 0xf8, 64, 0x72, 1, 0xc3]), &rule); // cmp eax, 64; jb; ret
    in_window(&code(&[0x83, 0xe0, 0x7f]), &rule); // and eax, 127
    in_window(&code(&[0x83, 0xe0, 0x3f]), &[]); // and eax, 63
    // xor ecx, ecx; cmp eax, 64; cmovae eax, ecx
    in_window(&code(&[0x31, 0xc9, 0x83, 0xf8, 64, 0x0f, 0x43, 0xc1]), &[]);
    in_window(&code(&[0x31, 0xc9, 0x83, 0xf9, 64, 0x0f, 0x43, 0xc1]), &rule); // another register is compared
    in_window(&code(&[0x50, 0x58]), &rule); // through the stack
    // mov rax, [rsi + REQUEST - STATE]; mov rcx, [rsi + 0x40]; and, or not, mov eax, eax; mov al, [rcx + rax]; ret
    let far = |cut: &[u8]| {
        [&[0x48, 0x8b, 0x86, 0, 0, 0xc, 0, 0x48, 0x8b, 0x4e, 0x40][..], cut, &[0x8a, 0x04, 0x01, 0xc3]].concat()
    };
    in_window(&far(&[]), &rule);
    in_window(&far(&[0x89, 0xc0]), &[]);
}

#[test]
fn audit_finds_instructions_that_are_not_the_windows() {
    let plants: [&[u8]; 24] = [
        &[0x0f, 0x0b],             // ud2
        &[0xcc],                   // int3
        &[0xcd, 0x80],             // int 0x80
        &[0xf4],                   // hlt
        &[0xec],                   // in al, dx
        &[0xee],                   // out dx, al
        &[0x0f, 0x05],             // syscall
        &[0x0f, 0x30],             // wrmsr
        &[0x0f, 0x31],             // rdtsc
        &[0x0f, 0x22, 0xd8],       // mov cr3, rax
        &[0x0f, 0x23, 0xf8],       // mov dr7, rax
        &[0x8e, 0xe8],             // mov gs, eax
        &[0x0f, 0x01, 0xef],       // wrpkru
        &[0x0f, 0x01, 0xc1],       // vmcall
        &[0x0f, 0x01, 0xf8],       // swapgs
        &[0x48, 0x0f, 0xae, 0x20], // xsave64 [rax]
        &[0x0f, 0xae, 0x00],       // fxsave [rax]
        &[0xd9, 0x28],             // fldcw [rax]
        &[0xfb],                   // sti
        &[0xfd],                   // std
        &[0x48, 0xf7, 0xf1],       // div rcx
        &[0xe2, 0x00],             // loop
        &[0xe1, 0x00],             // loope
        &[0x9c, 0x58],             // pushfq, which is the page's; pop rax
    ];
    plants.iter().for_each(|bytes| in_window(&[bytes, &[0xc3][..]].concat(), &["instructions"]));
    in_window(&[0x0f, 0xa2, 0xc3], &["instructions", "registers kept"]); // cpuid, which writes RBX
}

#[test]
fn audit_finds_branches_that_are_not_direct() {
    in_window(&[0xff, 0xe0], &["no indirect branch"]); // jmp rax
    in_window(&[0xff, 0x20], &["no indirect branch"]); // jmp [rax]
    in_window(&[0xff, 0xd0, 0xc3], &["no indirect branch"]); // call rax
    in_window(&[0xff, 0x14, 0xc8, 0xc3], &["no indirect branch"]); // call [rax + 8 * rcx]
}

#[test]
fn audit_finds_ways_out_of_the_code() {
    in_window(&[0xe9, 0, 0xf0, 0xff, 0xff], &["no way out"]); // jmp to the page before
    in_window(&[0xe8, 0, 0xf0, 0xff, 0xff, 0xc3], &["no way out"]); // call there
    in_window(&[0x75, 0x01, 0xb8, 0xc3, 0, 0, 0, 0xc3], &["no way out"]); // jne into the next instruction
    in_window(&[0xeb, 0x00, 0x06], &["no way out"]); // jmp to what is no instruction
}

#[test]
fn audit_finds_vmfunc_at_every_offset() {
    in_window(&[0xb8, 0x0f, 0x01, 0xd4, 0, 0xc3], &["VMFUNC"]); // mov eax, imm32
    in_window(&[0xc3, 0x0f, 0x01, 0xd4], &["VMFUNC"]); // never reached
    in_window(&[0x0f, 0x01, 0xd4], &["VMFUNC", "instructions"]);
    in_image("sluice-monitor", |image| image.put(image.entry(), &[0x0f, 0x01, 0xd4]), &["VMFUNC"]);
}

#[test]
fn audit_finds_other_vectors_than_the_three() {
    let rule = ["YMM0 to YMM2"];
    in_window(&[0xc5, 0xfe, 0x6f, 0x18, 0xc3], &rule); // vmovdqu ymm3, [rax]
    in_window(&[0x0f, 0x11, 0x00, 0xc3], &rule); // movups [rax], xmm0
    in_window(&[0xf3, 0x0f, 0x7f, 0x00, 0xc3], &rule); // movdqu [rax], xmm0
    in_window(&[0x62, 0xf1, 0xfe, 0x48, 0x7f, 0x00, 0xc3], &rule); // vmovdqu64 [rax], zmm0
    in_window(&[0xc5, 0xfc, 0x29, 0x00, 0xc3], &rule); // vmovaps [rax], ymm0
    in_window(&[0x0f, 0x6f, 0x00, 0xc3], &rule); // movq mm0, [rax]
    in_window(&[0xd9, 0xe8, 0xc3], &rule); // fld1
    in_window(&[0xc5, 0xf8, 0x92, 0xc8, 0xc3], &rule); // kmovw k1, eax
    in_window(&[0xc4, 0xe2, 0xf0, 0xf3, 0xc8, 0xc3], &rule); // blsr rcx, rax
}

#[test]
fn audit_finds_frames_left_in_vectors() {
    let (load, clear, upper) = ([0xc5, 0xfe, 0x6f, 0x00], [0xc5, 0xf9, 0xef, 0xc0], [0xc5, 0xf8, 0x77]);
    let rule = ["vectors scrubbed"];
    in_window(&[&load[..], &[0xc3]].concat(), &rule);
    in_window(&[&load[..], &upper, &[0xc3]].concat(), &rule);
    in_window(&[&[0x74, 0x04], &load[..], &upper, &[0xc3]].concat(), &rule); // on one of two ways
    in_window(&[&clear[..], &load, &[0xc3]].concat(), &rule);
    in_window(&[&[0xc5, 0xfa, 0x6f, 0x08], &clear[..], &[0xc3]].concat(), &rule); // another one is cleared
    in_window(&[&load[..], &clear, &upper, &[0xc3]].concat(), &[]);
    // Left by a callee.
    let mut image = built("window");
    let copy = image.symbol("vectors..Avx");
    let far = i32::try_from(copy.wrapping_sub(image.entry() + 5) as i64).expect("near");
    in_window(&[&[0xe8], &far.to_le_bytes()[..], &[0xc3]].concat(), &rule);
    image.put(image.entry(), &[0xc3]);
    assert_eq!(broken(&sluice_audit::file("window", &image.0, Some(Kind::Window)).expect("a window")), [""; 0]);
}

#[test]
fn audit_finds_a_stack_that_is_too_deep_or_not_as_it_was() {
    in_window(&[0x48, 0x81, 0xec, 0, 0x20, 0, 0, 0x48, 0x81, 0xc4, 0, 0x20, 0, 0, 0xc3], &["bounded stack"]);
    in_window(&[0xe8, 0xfb, 0xff, 0xff, 0xff, 0xc3], &["no recursion", "bounded stack"]); // calls itself
    let balance = ["balanced stack"];
    in_window(&[0x50, 0xc3], &balance); // push rax; ret
    in_window(&[0x58, 0xc3], &balance); // pop rax; ret
    in_window(&[0xc2, 0x08, 0x00], &balance); // ret 8
    in_window(&[0x48, 0x89, 0xc4, 0xc3], &balance); // mov rsp, rax
    in_window(&[0x48, 0x83, 0xe4, 0xe0, 0xc3], &balance); // and rsp, -32
    in_window(&[0x48, 0x89, 0x44, 0x24, 0xf8, 0xc3], &balance); // mov [rsp - 8], rax
    in_window(&[0x75, 0x01, 0x50, 0xc3], &balance); // jne over a push
    in_window(&[0x50, 0xeb, 0xfd], &balance); // pushes for ever
}

#[test]
fn audit_finds_registers_that_are_not_given_back() {
    let rule = ["registers kept"];
    in_window(&[0x31, 0xdb, 0xc3], &rule); // xor ebx, ebx
    in_window(&[0x53, 0x41, 0x54, 0x31, 0xdb, 0x5b, 0x41, 0x5c, 0xc3], &rule); // pops in the wrong order
    in_window(&[0x31, 0xed, 0x55, 0x5d, 0xc3], &rule); // pushes RBP when it is written already
    in_window(&[0x75, 0x02, 0x31, 0xdb, 0xc3], &rule); // on one of two ways
    in_window(&[0x53, 0x41, 0x54, 0x31, 0xdb, 0x41, 0x5c, 0x5b, 0xc3], &[]);
    in_page(window, &[0x31, 0xf6], &[0x31, 0xdb], &["registers scrubbed", "registers kept"]); // xor ebx, ebx, not esi
}

#[test]
fn audit_finds_addresses_of_others() {
    in_window(&[0x64, 0x48, 0x8b, 0x00, 0xc3], &["no FS or GS"]); // mov rax, fs:[rax]
    let rule = ["no statics"];
    in_window(&[0x48, 0x8b, 0x04, 0x25, 0, 0, 0x10, 0, 0xc3], &rule); // mov rax, [0x100000]
    in_window(&[0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3], &rule); // mov rax, [rip]: code
    let image = built("window");
    let constant = i32::try_from(image.constants().wrapping_sub(image.entry() + 7) as i64).expect("near");
    in_window(&[&[0x48, 0x8b, 0x05], &constant.to_le_bytes()[..], &[0xc3]].concat(), &[]); // mov rax, [constant]
    in_window(&[&[0x48, 0x89, 0x05], &constant.to_le_bytes()[..], &[0xc3]].concat(), &rule); // mov [constant], rax
}

#[test]
fn audit_finds_what_an_image_must_not_map() {
    in_image("window", |image| image.segment_flags(0, 7), &["write or execute", "no data"]);
    in_image("window", |image| image.segment_flags(1, 6), &["no data"]);
    in_image("window", |image| image.segment_len(1, 0x10000), &["size and place"]);
    in_image("window", |image| image.section_type(".rodata", 4), &["no data"]); // SHT_RELA
    in_image("window", |image| image.rename("find_in_others", "panic_in_other"), &["no panic"]);
    in_image("window", |image| image.undefine("find_in_others"), &["no panic"]);
    in_image("sluice-monitor", |image| image.segment_flags(0, 7), &["write or execute"]);
    let mut moved = built("window");
    let entry = moved.symbol("find_in_others");
    moved.set_entry(entry);
    let rules = sluice_audit::file("window", &moved.0, Some(Kind::Window)).expect("a window");
    assert!(broken(&rules).contains(&"size and place"), "{rules:#?}");
}

#[test]
fn audit_finds_what_the_window_page_must_not_do() {
    in_page(window, &[0x31, 0xf6], &[0x90, 0x90], &["registers scrubbed"]); // no xor esi, esi
    in_page(window, &[0x48, 0x89, 0xc2], &[0x48, 0x89, 0xfa], &["registers scrubbed"]); // mov rdx, rdi
    in_page(window, &[0x31, 0xf6, 0x31, 0xff], &[0x39, 0xf7, 0x39, 0xf7], &["registers scrubbed"]); // cmp edi, esi
    // lea rax, not rsp
    in_page(window, &[0x48, 0x8d, 0x25], &[0x48, 0x8d, 0x05], &["bounded speculation", "balanced stack"]);
    in_page(window, &[0xcc; 16], &[0x0f, 0x01, 0xd4], &["VMFUNC", "filler", "VMFUNC"]);
    in_page(window, &[0x9c], &[0x9d], &["instructions", "bounded speculation", "balanced stack"]); // popfq
}

#[test]
fn audit_finds_what_the_gate_page_must_not_do() {
    in_page(gate, &[0xcc; 16], &[0x50], &["every offset", "filler"]); // push rax
    in_page(gate, &[0xcc; 16], &[0x75, 0x02], &["every offset", "straight line", "filler"]);
    in_page(gate, &[0xcc; 16], &[0x0f, 0x01, 0xd4], &["VMFUNC", "filler"]);
    in_page(gate, &[0xcc; 16], &[0x90], &["every offset", "filler"]);
    for page in [stub, gate, window] {
        in_page(page, &[0xcc; 16], &[0x06], &["filler"]);
    }
    in_page(stub, &[0xcc; 16], &[0x90], &["filler"]);
    in_page(window, &[0xcc; 16], &[0x90], &["filler"]);
    // mov eax, [rax]
    in_page(gate, &[0xcc; 16], &[0x8b, 0x00, 0x31, 0xc9, 0x0f, 0x01, 0xd4], &["VMFUNC", "every offset", "filler"]);
    in_page(stub, &[0x0f, 0x01, 0xd4], &[0x90, 0x90, 0x90], &["VMFUNC"]);
    let rules = in_page(
        window,
        &[0xb9, 1, 0, 0, 0, 0x31, 0xc0],
        &[0x31, 0xc0, 0x31, 0xc9, 0x0f, 0x01, 0xd4],
        &["VMFUNC", "filler", "VMFUNC"],
    );
    assert!(rules.iter().flat_map(|rule| &rule.findings).any(|found| found.what.contains("does not lead to")));
    // The only one, but too early: xor eax, eax; lea ecx, [rax + 1]; vmfunc.
    in_page(
        window,
        &[0xb9, 1, 0, 0, 0, 0x31, 0xc0, 0x0f, 0x01, 0xd4],
        &[0x31, 0xc0, 0x8d, 0x48, 0x01, 0x0f, 0x01, 0xd4, 0xcc, 0xcc],
        &["VMFUNC", "VMFUNC"],
    );
}

#[test]
fn audit_finds_a_third_list_store() {
    let mut pages = Pages::here();
    // mov byte [list + 16], 6; here its displacement hides nothing else.
    pages.gate[0x903..][..7].copy_from_slice(&[0xc6, 0x05, 0x06, 0x17, 0x06, 0x06, 0x06]);
    assert_eq!(broken(&sluice_audit::gate(&pages)), ["list stores", "filler"]);
}

/// Those that are declared, where the gate `guarded` switches views; and those that an attacker means.
#[test]
fn audit_tells_declared_vmfuncs_from_stray_ones() {
    let rule = |image: &Image| {
        sluice_audit::file("microbench", &image.0, Some(Kind::Vnf)).expect("an image").pop().expect("a rule")
    };
    let good = rule(&built("microbench"));
    // A pair for each place that the compiler puts a call.
    assert!(["2 declared, 0 stray", "4 declared, 0 stray"].contains(&good.figure.as_str()), "{good:?}");
    let strays: [(&[u8], u64, &str, &str); 2] = [
        (&[0x0f, 0x01, 0xd4], 0, "nobody declares", "_start"),
        (&[0xb8, 0x0f, 0x01, 0xd4, 0], 1, "within other instructions", "_start+0x1"),
    ];
    for (bytes, behind, what, symbol) in strays {
        let mut image = built("microbench");
        image.put(image.entry(), bytes);
        let rule = rule(&image);
        let found = &rule.findings[0];
        assert_eq!((rule.findings.len(), found.address), (1, image.entry() + behind), "{rule:?}");
        assert!(found.what.contains(what) && found.symbol == symbol, "{found:?}");
    }
}

#[test]
fn audit_refuses_what_is_no_image() {
    assert!(sluice_audit::file("x", b"no ELF file", None).is_err());
    let mut image = built("window");
    image.0.truncate(0x1000);
    assert!(sluice_audit::file("x", &image.0, None).is_err());
}
