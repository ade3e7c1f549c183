//! The window view's code as one: the window page, and the image that it calls.

mod allowed;
mod calls;
mod kept;
mod registers;
mod speculation;
mod stack;
mod value;
mod vectors;

use crate::binary::{Binary, Segment, Symbols};
use crate::code::{Code, Space};
use crate::image;
use crate::pages::walk::Page;
use crate::rule::Rule;
use crate::vmfunc::{self, VMFUNC};
use sluice_abi::map;
use sluice_gate::{CLOSE, ENTER};

/// Where the page is in the window view, and what it is called in what is found.
const PAGE: u64 = map::SLOT_VA + map::GATE;
const ENTERED: u64 = PAGE + ENTER as u64;
/// The window's way out: the VMFUNC that ends where the gate page closes.
const LEAVES: u64 = PAGE + CLOSE as u64 - VMFUNC.len() as u64;

/// All rules of the window `binary`, entered by `page`.
pub fn rules(page: &Page, binary: &Binary) -> Vec<Rule> {
    let page = Segment { address: PAGE, len: map::PAGE, bytes: page.to_vec(), write: false, execute: true };
    let symbols = names(&binary.symbols);
    let parts: Vec<_> = binary.executable().chain([&page]).collect();
    let places = vmfunc::places(parts.iter().copied(), &symbols, &[LEAVES]);
    let code = Code::reach(Space { parts, symbols: &symbols }, &[ENTERED, binary.entry]);
    let order = calls::order(&code);
    let [bounded, balanced] = stack::rules(&code, &order, ENTERED);
    vec![
        image::place(binary),
        image::write_or_execute(binary),
        image::no_data(binary),
        image::panics(binary),
        vmfunc::rule("G1", &places),
        allowed::instructions(&code, ENTERED),
        allowed::direct(&code),
        allowed::inside(&code),
        allowed::segments(&code),
        allowed::statics(&code, binary),
        speculation::bounded(&code, ENTERED),
        vectors::registers(&code),
        vectors::scrubbed(&code, &order, binary.entry),
        registers::scrubbed(&code, ENTERED),
        kept::rule(&code, ENTERED),
        calls::recursion(&code, &order),
        bounded,
        balanced,
    ]
}

fn names(image: &Symbols) -> Symbols {
    let mut symbols = image.clone();
    symbols.add(ENTERED, "window page");
    symbols
}
