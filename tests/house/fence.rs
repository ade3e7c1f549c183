//! Where unsafe code stands: in the files that are named here, and in no others.

use crate::{Source, none, sources};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;

/// Folders of production code.
const PRODUCTION: [&str; 6] = ["abi/", "memory/", "trampoline/", "fastpath/", "guest-driver/", "host/"];
/// Files of production code that may have unsafe code, at most, and other files.
const MOST: usize = 25;
const MOST_OTHERS: usize = 8;
/// Lines of a file with unsafe code: fewer than these.
const LINES: usize = 250;

/// Files of production code with unsafe code.
const FENCE: &[&str] = &[
    "fastpath/src/access.rs",
    "fastpath/vnf/src/clock.rs",
    "fastpath/vnf/src/process/shared.rs",
    "fastpath/vnf/src/vm/cpu.rs",
    "fastpath/vnf/src/vm/memory.rs",
    "guest-driver/src/transport/registers.rs",
    "host/guard/src/child.rs",
    "host/monitor/src/boot.rs",
    "host/monitor/src/platform/cpu.rs",
    "host/monitor/src/platform/descriptors.rs",
    "host/monitor/src/platform/physical.rs",
    "host/monitor/src/platform/smp.rs",
    "host/monitor/src/vm/ring_code.rs",
    "host/monitor/src/vmx/instruction.rs",
    "host/vhost-user/src/memory.rs",
    "memory/src/lanes.rs",
    "memory/src/lanes/vectors.rs",
    "memory/src/ring.rs",
    "memory/src/slice.rs",
    "memory/src/steps.rs",
    "memory/src/transfer.rs",
    "memory/src/word.rs",
    "trampoline/gate/src/code.rs",
    "trampoline/inside/src/bin/window.rs",
    "trampoline/inside/src/host.rs",
];

/// Files of tests, examples, benchmarks and tools with unsafe code.
const OTHERS: &[&str] = &[
    "bench/clock/src/vm/cpu.rs",
    "bench/src/copy.rs",
    "bench/src/dpdk.rs",
    "bench/src/slot.rs",
    "tests/memory/src/mapped.rs",
    "tests/vm/src/attacks/cpu.rs",
    "tests/vm/src/attacks/host.rs",
    "tests/vm/src/attacks/leap.rs",
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

/// Returns where the files with unsafe code of `sources`, and their `list`, differ.
fn breaches<'s>(sources: impl Iterator<Item = &'s Source>, list: &[&str]) -> Vec<String> {
    let found: Vec<_> = sources.filter(|source| is_unsafe(source)).collect();
    let paths: BTreeSet<_> = found.iter().map(|source| source.path.as_str()).collect();
    let listed: BTreeSet<_> = list.iter().copied().collect();
    let unlisted = paths.difference(&listed).map(|path| format!("{path} has unsafe code and is not listed"));
    let empty = listed.difference(&paths).map(|path| format!("{path} is listed and has no unsafe code"));
    unlisted.chain(empty).collect()
}

/// Returns the files with unsafe code of `sources` that are too long.
fn long<'s>(sources: impl Iterator<Item = &'s Source>) -> Vec<String> {
    let long = sources.filter(|source| is_unsafe(source) && source.text.lines().count() >= LINES);
    long.map(|source| format!("{} has unsafe code and {LINES} lines or more", source.path)).collect()
}

#[test]
fn unsafe_code_stands_in_the_files_that_are_listed() {
    let all = sources("", &["rs"]);
    let (production, others): (Vec<_>, Vec<_>) = all.iter().partition(|source| is_production(source));
    let long = long(production.iter().copied());
    let breaches = [long, breaches(production.into_iter(), FENCE), breaches(others.into_iter(), OTHERS)].concat();
    none("files with unsafe code", &breaches);
}

#[test]
fn the_fence_is_narrow() {
    assert!(FENCE.len() <= MOST, "{} files with unsafe code, not {MOST}", FENCE.len());
    assert!(OTHERS.len() <= MOST_OTHERS, "{} other files with unsafe code, not {MOST_OTHERS}", OTHERS.len());
}

#[test]
fn a_file_that_is_not_listed_is_found_and_one_that_is_listed_in_vain() {
    // The keyword stands alone here, so that a search for blocks finds the files of the lists and no others.
    let word = "unsafe";
    let block = &format!("fn f() {{ {word} {{ g() }} }}\n");
    let sources = [
        Source::sample("memory/src/a.rs", block),
        Source::sample("memory/src/b.rs", "//! Not unsafe.\n#![forbid(unsafe_code)]\nconst A: &str = \"unsafe\";"),
        Source::sample("memory/src/c.rs", &format!("{block}{}", "\n".repeat(LINES - 1))),
        Source::sample("memory/src/d.rs", &format!("macro_rules! m {{ () => {{ {word} {{ 1 }} }}; }}")),
    ];
    let found = |list: &[&str]| breaches(sources.iter(), list).join("\n");
    assert_eq!(found(&["memory/src/a.rs", "memory/src/c.rs", "memory/src/d.rs"]), "");
    assert_eq!(long(sources.iter()), ["memory/src/c.rs has unsafe code and 250 lines or more"]);
    let text = found(&["memory/src/b.rs", "memory/src/c.rs", "memory/src/d.rs"]);
    assert!(text.contains("a.rs has unsafe code and is not listed"), "{text}");
    assert!(text.contains("b.rs is listed and has no unsafe code"), "{text}");
    assert!(is_production(&sources[0]) && !is_production(&Source::sample("memory/tests/a.rs", block)));
}
