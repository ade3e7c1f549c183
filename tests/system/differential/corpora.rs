//! Captures that nobody here made, from source packages of Debian.

use super::{RULES_OF_CORPORA, captures, compare, of};
use sluice_corpora::{Corpus, NDPI, TCPDUMP};
use xtask::artifacts;

/// Compares all frames of a corpus that fit. Returns their number.
fn compare_corpus(corpus: &Corpus) -> usize {
    let captures = corpus.captures(&artifacts::results().join("corpora")).expect("captures");
    let all: Vec<_> = captures.iter().flat_map(|file| captures::read(file)).collect();
    let count = all.len();
    let frames: Vec<_> = all.into_iter().filter(|frame| captures::is_fit(frame)).collect();
    println!("{} captures, {count} Ethernet frames, {} of them with 14 to 1514 bytes", captures.len(), frames.len());
    let counters = compare(&RULES_OF_CORPORA, &frames);
    assert!(of(&counters, "hits") > 0, "{counters:?}");
    frames.len()
}

#[test]
fn differential_captures_of_tcpdump_from_debian_with_openvswitch() {
    assert!(compare_corpus(&TCPDUMP) > 5_000);
}

/// It fetches 127 MB once, and takes minutes.
#[test]
#[ignore = "127 MB, minutes"]
fn differential_captures_of_ndpi_from_debian_with_openvswitch() {
    assert!(compare_corpus(&NDPI) > 150_000);
}
