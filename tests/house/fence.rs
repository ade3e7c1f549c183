//! Where unsafe code stands: in the files that are named here, and in no others.

use crate::{Source, none, sources};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;

/// Folders of production code.
const PRODUCTION: [&str; 6] = ["abi/", "memory/", "trampoline/", "fastpath/", "guest-driver/", "host/"];
/// Files of production code that may have unsafe code, at most.
const MOST: usize = 25;
/// Lines of a file with unsafe code: fewer than these.
const LINES: usize = 250;

/// Files of production code with unsafe code.
const FENCE: &[&str] = &[
    "fastpath/src/gate.rs",
    "fastpath/src/packet_memory.rs",
    "fastpath/vnf/src/connect.rs",
    "fastpath/vnf/src/lib.rs",
    "fastpath/vnf/src/process/clock.rs",
    "fastpath/vnf/src/process/control.rs",
    "fastpath/vnf/src/process/mapping.rs",
    "fastpath/vnf/src/process/sleep.rs",
    "fastpath/vnf/src/vm/boot.rs",
    "fastpath/vnf/src/vm/clock.rs",
    "fastpath/vnf/src/vm/console.rs",
    "fastpath/vnf/src/vm/exception.rs",
    "fastpath/vnf/src/vm/heap.rs",
    "fastpath/vnf/src/vm/host.rs",
    "fastpath/vnf/src/vm/memory.rs",
    "fastpath/vnf/src/vm/mod.rs",
    "fastpath/vnf/src/vm/sleep.rs",
    "guest-driver/src/transport/mmio.rs",
    "guest-driver/src/transport/pci/function.rs",
    "guest-driver/src/transport/registers.rs",
    "host/guard/src/outer.rs",
    "host/guard/src/tie.rs",
    "host/launcher/src/memory.rs",
    "host/monitor/src/platform/console.rs",
    "host/monitor/src/platform/cpu.rs",
    "host/monitor/src/platform/descriptors.rs",
    "host/monitor/src/platform/exit.rs",
    "host/monitor/src/platform/frames.rs",
    "host/monitor/src/platform/heap.rs",
    "host/monitor/src/platform/msr.rs",
    "host/monitor/src/platform/multiboot.rs",
    "host/monitor/src/platform/paging.rs",
    "host/monitor/src/platform/smp.rs",
    "host/monitor/src/platform/table.rs",
    "host/monitor/src/start.rs",
    "host/monitor/src/vm/image.rs",
    "host/monitor/src/vm/ram.rs",
    "host/monitor/src/vm/shared.rs",
    "host/monitor/src/vm/window.rs",
    "host/monitor/src/vmx/enter.rs",
    "host/monitor/src/vmx/instruction.rs",
    "host/monitor/src/vmx/rest.rs",
    "memory/src/guess.rs",
    "memory/src/lanes/mod.rs",
    "memory/src/lanes/vectors.rs",
    "memory/src/lanes/words.rs",
    "memory/src/ring.rs",
    "memory/src/slice.rs",
    "memory/src/steps.rs",
    "memory/src/transfer.rs",
    "memory/src/word.rs",
    "memory/src/word/portable.rs",
    "trampoline/gate/src/call.rs",
    "trampoline/gate/src/hypercall.rs",
    "trampoline/gate/src/page.rs",
    "trampoline/inside/src/bin/window.rs",
    "trampoline/inside/src/regions.rs",
    "trampoline/inside/src/window.rs",
];

/// Files of tests, examples, benchmarks and tools with unsafe code.
const OTHERS: &[&str] = &[
    "bench/clock/src/vm/idt.rs",
    "bench/clock/src/vm/mod.rs",
    "bench/clock/src/vm/timer.rs",
    "bench/latency/src/stub.rs",
    "bench/src/arena.rs",
    "bench/src/clock.rs",
    "bench/src/copy.rs",
    "bench/src/driver.rs",
    "bench/src/receive/dpdk.rs",
    "bench/src/rte_vhost.rs",
    "bench/src/sender.rs",
    "bench/src/sluice_window.rs",
    "bench/src/virtio_queue.rs",
    "fastpath/src/gate/tests.rs",
    "fastpath/tests/world/mod.rs",
    "fuzz/src/device.rs",
    "fuzz/src/guarded.rs",
    "guest-driver/src/transport/pci/tests.rs",
    "guest-driver/tests/interop.rs",
    "guest-driver/tests/orders.rs",
    "guest-driver/tests/registers.rs",
    "tests/vhost-user/src/backend/memory.rs",
    "tests/vhost-user/src/frontend/mod.rs",
    "tests/vhost-user/src/memory.rs",
    "tests/vm/src/alias.rs",
    "tests/vm/src/attack.rs",
    "tests/vm/src/control.rs",
    "tests/vm/src/crossing.rs",
    "tests/vm/src/debug.rs",
    "tests/vm/src/descriptors.rs",
    "tests/vm/src/home.rs",
    "tests/vm/src/leap.rs",
    "tests/vm/src/leftovers.rs",
    "tests/vm/src/lives.rs",
    "tests/vm/src/msr.rs",
    "tests/vm/src/nmi.rs",
    "tests/vm/src/processor.rs",
    "tests/vm/src/runs.rs",
    "tests/vm/src/snippet.rs",
    "tests/vm/src/sweep.rs",
    "tests/vm/src/timer.rs",
    "tests/vm/src/vectors.rs",
    "tests/vm/src/x87.rs",
    "trampoline/inside/tests/formats/main.rs",
    "trampoline/inside/tests/hostile_formats/main.rs",
    "trampoline/inside/tests/mock.rs",
    "trampoline/inside/tests/peer/driver.rs",
    "trampoline/inside/tests/peer/memory.rs",
];

/// Whether the keyword `unsafe` stands in `tokens`: a block, a function, an attribute, also inside a macro.
fn has_keyword(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "unsafe",
        TokenTree::Group(group) => has_keyword(group.stream()),
        _ => false,
    })
}

fn is_unsafe(source: &Source) -> bool {
    let tokens = source.text.parse().unwrap_or_else(|error| panic!("{}: {error}", source.path));
    has_keyword(tokens)
}

/// Whether what `source` holds is shipped.
fn is_production(source: &Source) -> bool {
    PRODUCTION.iter().any(|folder| source.path.starts_with(folder)) && !source.is_test()
}

/// Returns where the files with unsafe code of `sources`, and their `list`, differ; and those that are too long.
fn breaches<'s>(sources: impl Iterator<Item = &'s Source>, list: &[&str]) -> Vec<String> {
    let found: Vec<_> = sources.filter(|source| is_unsafe(source)).collect();
    let paths: BTreeSet<_> = found.iter().map(|source| source.path.as_str()).collect();
    let listed: BTreeSet<_> = list.iter().copied().collect();
    let unlisted = paths.difference(&listed).map(|path| format!("{path} has unsafe code and is not listed"));
    let empty = listed.difference(&paths).map(|path| format!("{path} is listed and has no unsafe code"));
    let long = found.iter().filter(|source| source.text.lines().count() >= LINES);
    let long = long.map(|source| format!("{} has unsafe code and {LINES} lines or more", source.path));
    unlisted.chain(empty).chain(long).collect()
}

#[test]
fn unsafe_code_stands_in_the_files_that_are_listed() {
    let all = sources("", &["rs"]);
    let (production, others): (Vec<_>, Vec<_>) = all.iter().partition(|source| is_production(source));
    let breaches = [breaches(production.into_iter(), FENCE), breaches(others.into_iter(), OTHERS)].concat();
    none("files with unsafe code", &breaches);
}

#[test]
fn the_fence_is_narrow() {
    assert!(FENCE.len() <= MOST, "{} files with unsafe code, not {MOST}", FENCE.len());
}

#[test]
fn a_file_that_is_not_listed_is_found_and_one_that_is_listed_in_vain() {
    let block = "fn f() { unsafe { g() } }\n";
    let sources = [
        Source::sample("memory/src/a.rs", block),
        Source::sample("memory/src/b.rs", "//! Not unsafe.\n#![forbid(unsafe_code)]\nconst A: &str = \"unsafe\";"),
        Source::sample("memory/src/c.rs", &format!("{block}{}", "\n".repeat(LINES - 1))),
        Source::sample("memory/src/d.rs", "macro_rules! m { () => { unsafe { 1 } }; }"),
    ];
    let found = |list: &[&str]| breaches(sources.iter(), list).join("\n");
    let long = "memory/src/c.rs has unsafe code and 250 lines or more";
    assert_eq!(found(&["memory/src/a.rs", "memory/src/c.rs", "memory/src/d.rs"]), long);
    let text = found(&["memory/src/b.rs", "memory/src/c.rs", "memory/src/d.rs"]);
    assert!(text.contains("a.rs has unsafe code and is not listed"), "{text}");
    assert!(text.contains("b.rs is listed and has no unsafe code"), "{text}");
    assert!(is_production(&sources[0]) && !is_production(&Source::sample("memory/tests/a.rs", block)));
}
